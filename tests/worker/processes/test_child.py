"""Programs beside a worker, as real processes: what they may, how they are stopped, and that none is left over."""

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from pytest_django import Settings

from worker.processes.child import Beside, WorkHeld, how_it_ended, take_lock

ASLEEP = 'import time; print(\'{"event": "here"}\', flush=True); time.sleep(60)'
TIDY = """
import time
try:
    print('{"event": "here"}', flush=True)
    time.sleep(60)
except KeyboardInterrupt:
    print('{"event": "tidy"}')
"""
TRUNK_AND_BRANCH = f"""
import subprocess, sys, time
branch = subprocess.Popen([sys.executable, "-c", {ASLEEP!r}], start_new_session=True, stdout=subprocess.DEVNULL)
print('{{"event": "branch", "pid": %d}}' % branch.pid, flush=True)
time.sleep(60)
"""


def beside(folder: Path, code: str) -> Beside:
    return Beside([sys.executable, "-c", code], log=folder / "log.txt", lock=folder / "lock")


def until(look: Callable[[], object], patience: float = 10.0) -> None:
    deadline = time.monotonic() + patience
    while not look():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def said(program: Beside) -> dict:
    """The first event that it tells."""
    told: list[dict] = []
    until(lambda: told.extend(program.events()) or told)
    return told[0]


def lives(pid: int) -> bool:
    """Whether it runs: one that is dead but not yet buried does not."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def test_what_a_program_says_and_how_it_ended_is_known(tmp_path: Path) -> None:
    (tmp_path / "log.txt").write_text("python -m ml: of an earlier attempt\n")
    code = (
        "import sys; print('no JSON'); print('[1]'); print('{\"event\": \"step\"}');"
        "sys.stderr.write('half\\rpython -m ml: No photos.\\n'); sys.exit(2)"
    )
    with beside(tmp_path, code) as program:
        assert program.wait(20) == 2
        assert program.events() == [{"event": "step"}]
        assert program.events() == []
        assert program.complaint() == "No photos."
        assert "earlier" not in program.last_words()


def test_it_runs_when_nobody_else_wants_to_and_knows_no_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    settings.TRAIN_PRIORITY = "lowest"
    for name in ("SECRET_KEY", "DATABASE_URL", "AWS_SECRET_ACCESS_KEY", "EMAIL_PASSWORD", "WANDB_API_KEY"):
        monkeypatch.setenv(name, "secret")
    code = (
        "import json, os, signal; print(json.dumps({'event': '', 'secret': [n for n in os.environ if 'secret' =="
        "os.environ[n]], 'nice': os.nice(0), 'idle': os.sched_getscheduler(0) == os.SCHED_IDLE,"
        "'group': os.getpgid(0) == os.getpid()}))"
    )
    with beside(tmp_path, code) as program:
        assert program.wait(20) == 0
        told = program.events()[0]
    assert told == {"event": "", "secret": ["WANDB_API_KEY"], "nice": 19, "idle": True, "group": True}


def test_leaving_the_block_ends_it_and_what_it_has_started_in_sessions_of_their_own(tmp_path: Path) -> None:
    with beside(tmp_path, TRUNK_AND_BRANCH) as program:
        branch = said(program)["pid"]
        assert lives(branch)
    until(lambda: not lives(branch))
    assert program.wait(0) == -signal.SIGKILL


def test_it_may_tidy_up_when_it_is_stopped(tmp_path: Path) -> None:
    with beside(tmp_path, TIDY) as program:
        said(program)
        program.stop()
        assert program.events() == [{"event": "tidy"}]
        assert program.wait(0) == 0


def test_one_that_does_not_listen_is_ended_all_the_same(tmp_path: Path) -> None:
    with beside(tmp_path, f"import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); {ASLEEP}") as program:
        said(program)
        program.stop(patience=0.1)
        assert program.wait(0) == -signal.SIGKILL


WORKER = """
import sys, time
from pathlib import Path
from tests.worker.processes.test_child import TRUNK_AND_BRANCH, beside, said
program = beside(Path(sys.argv[1]), TRUNK_AND_BRANCH)
print(program._process.pid, said(program)["pid"], flush=True)
time.sleep(60)
"""


def test_it_dies_with_its_worker_and_the_next_attempt_ends_what_it_left(tmp_path: Path) -> None:
    environment = os.environ | {"DJANGO_SETTINGS_MODULE": "tests.settings"}
    command = [sys.executable, "-c", WORKER, str(tmp_path)]
    root = Path(__file__).resolve().parents[3]
    with subprocess.Popen(command, cwd=root, env=environment, stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdout is not None
        trunk, branch = map(int, worker.stdout.readline().split())
        assert lives(trunk) and lives(branch)
        worker.kill()
    until(lambda: not lives(trunk))
    assert lives(branch)
    with beside(tmp_path, "pass") as program:
        assert not lives(branch)
        assert program.wait(20) == 0


def test_work_that_others_keep_locked_is_not_begun(tmp_path: Path) -> None:
    """Such as a worker in another container, whose processes cannot be seen from here."""
    with (tmp_path / "lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(WorkHeld, match="'lock'"):
            take_lock(tmp_path / "lock", patience=0.2)
    take_lock(tmp_path / "lock", patience=0.2).close()


@pytest.mark.parametrize(
    ("code", "words", "wanted"),
    [
        (-9, "", "It was killed (SIGKILL). Perhaps the memory was short."),
        (-11, "", "It was killed (SIGSEGV)."),
        (1, "Traceback\n  …\nValueError: no\n", "It ended with exit code 1: ValueError: no"),
        (1, "", "It ended with exit code 1."),
    ],
)
def test_an_end_without_a_reason_is_told_in_words(code: int, words: str, wanted: str) -> None:
    assert how_it_ended(code, words) == wanted
