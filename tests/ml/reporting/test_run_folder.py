import json
import math
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from ml.formats.atomic_files import UnwritableError
from ml.formats.errors import InputError
from ml.reporting.run_folder import RunFolder, RunFolderDamaged
from tests.helpers.errors import raises_code

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def run(tmp_path) -> RunFolder:
    return RunFolder(tmp_path / "runs" / "first")


def epochs(run: RunFolder) -> list[object]:
    return [row["epoch"] for row in run.rows()]


def test_a_new_run_has_a_folder_and_no_rows(run):
    assert run.path.is_dir()
    assert run.rows() == []


def test_rows_are_read_as_they_were_written(run):
    rows = [{"epoch": 1, "train_loss": 0.1 + 0.2, "note": "größer\nzweite Zeile"}, {"epoch": 2, "lr": 1e-30}]
    for row in rows:
        run.append(row)
    assert run.rows() == rows


def test_each_line_is_one_json_object_that_any_reader_reads(run):
    run.append({"epoch": 1, "loss": math.nan, "val_loss": -math.inf})
    run.append({"epoch": 2, "loss": 0.5})
    refuse = {"parse_constant": lambda word: pytest.fail(f"{word} is not JSON")}
    lines = [json.loads(line, **refuse) for line in run.metrics.read_text().splitlines()]
    assert lines == [{"epoch": 1, "loss": None, "val_loss": None}, {"epoch": 2, "loss": 0.5}]


def test_null_is_read_as_nan(run):
    run.append({"epoch": 1, "loss": math.inf})
    assert math.isnan(run.rows()[0]["loss"])


def test_numbers_of_numpy_are_written_as_numbers(run):
    run.append({"epoch": np.int64(3), "loss": np.float32(0.5), "spread": np.float64(0.25)})
    assert run.rows() == [{"epoch": 3, "loss": 0.5, "spread": 0.25}]


def test_a_row_can_be_read_by_others_before_the_run_ends(run):
    run.append({"epoch": 1})
    assert epochs(RunFolder(run.path)) == [1]


def test_a_run_resumed_after_an_epoch_writes_no_epoch_twice(run):
    for epoch in (1, 2, 3, 4):
        run.append({"epoch": epoch, "life": 1})
    resumed = RunFolder(run.path)
    resumed.keep_until(2)
    for epoch in (3, 4):
        resumed.append({"epoch": epoch, "life": 2})
    assert [(row["epoch"], row["life"]) for row in run.rows()] == [(1, 1), (2, 1), (3, 2), (4, 2)]


def test_keep_until_0_removes_all_rows_and_a_later_epoch_removes_none(run):
    run.keep_until(5)
    run.append({"epoch": 1, "loss": math.nan})
    before = run.metrics.read_bytes()
    run.keep_until(5)
    assert run.metrics.read_bytes() == before
    run.keep_until(0)
    assert run.rows() == []


@pytest.mark.parametrize("rest", ["{", '{"epoch": 2', '{"epoch": 2, "loss": 0.25}', "\0\0\0", '{"note": "gr\xc3'])
def test_a_truncated_line_is_not_read_and_is_removed_before_the_next_row(run, rest):
    """Even one that could be read: the line break is the last byte of a line, so it may lack digits."""
    run.append({"epoch": 1})
    with run.metrics.open("ab") as file:
        file.write(rest.encode("latin-1"))
    assert epochs(run) == [1]
    run.append({"epoch": 2})
    assert epochs(run) == [1, 2]
    assert run.metrics.read_bytes() == b'{"epoch": 1}\n{"epoch": 2}\n'


def test_a_truncated_first_line_gives_no_rows(run):
    run.metrics.write_bytes(b'{"epo')
    assert run.rows() == []
    run.keep_until(0)
    assert run.metrics.read_bytes() == b""


def test_a_run_killed_while_writing_leaves_whole_rows_and_continues(run):
    program = (
        "import itertools, sys; from pathlib import Path; from ml.reporting.run_folder import RunFolder\n"
        "run = RunFolder(Path(sys.argv[1]))\n"
        "for epoch in itertools.count(1): run.append({'epoch': epoch, 'note': 'x' * 5000})"
    )
    with subprocess.Popen([sys.executable, "-c", program, run.path], cwd=ROOT) as process:
        give_up = time.monotonic() + 60
        while len(run.rows()) < 5 and time.monotonic() < give_up:
            time.sleep(0.01)
        process.kill()
    written = epochs(run)
    assert len(written) >= 5
    run.append({"epoch": len(written) + 1})
    assert epochs(run) == list(range(1, len(written) + 2))


@pytest.mark.parametrize("line", ["{", "[1]", "7", "\xff"])
def test_a_damaged_line_in_the_middle_is_named(run, line):
    run.metrics.write_bytes(b'{"epoch": 1}\n' + line.encode("latin-1") + b'\n{"epoch": 3}\n')
    with raises_code(RunFolderDamaged, "run_folder_damaged", "Line 2", "metrics.jsonl"):
        run.rows()
    assert issubclass(RunFolderDamaged, InputError)


def test_a_folder_that_cannot_be_created_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with raises_code(UnwritableError, "unwritable"):
        RunFolder(tmp_path / "file" / "run")


def test_unwritable_metrics_are_refused(run):
    run.metrics.mkdir()
    with raises_code(UnwritableError, "unwritable", "metrics.jsonl"):
        run.append({"epoch": 1})


def test_a_full_disk_is_an_error_and_the_earlier_rows_stay(run):
    """The operating system limits the files of the process to 100 bytes."""
    program = (
        "import resource, signal, sys; from pathlib import Path; from ml.reporting.run_folder import RunFolder\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))\n"
        "run = RunFolder(Path(sys.argv[1])); run.append({'epoch': 1}); run.append({'epoch': 2, 'note': 'x' * 200})"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program, run.path], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert "UnwritableError: Cannot write" in ended.stderr.splitlines()[-1]
    assert epochs(run) == [1]


def test_following_a_run_loads_no_heavy_library():
    program = (
        "import sys, ml.reporting.run_folder, ml.reporting.trackers\n"
        "sys.exit(', '.join({'torch', 'matplotlib', 'sklearn', 'wandb', 'tensorboard'} & sys.modules.keys()) or None)"
    )
    ended = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
