"""Child processes of a worker, as real processes: environment, priority, stopping, locks."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from pytest_django import Settings

from ml.formats.file_lock import lock_file
from tests.helpers.child_process import SLEEPING, WITH_DESCENDANT, first_event, is_running, start_child, wait_until
from tests.helpers.errors import raises_code
from tests.helpers.site_secrets import SECRETS
from worker.processes.child import WorkHeld, exit_reason, take_lock

ROOT = Path(__file__).resolve().parents[3]

CLEANING_UP = """
import time
try:
    print('{"event": "started"}', flush=True)
    time.sleep(60)
except KeyboardInterrupt:
    print('{"event": "cleaned up"}')
"""


def test_events_exit_code_and_error_line_of_a_child_are_read(tmp_path: Path) -> None:
    (tmp_path / "log.txt").write_text("python -m ml: of an earlier attempt\n")
    code = (
        "import sys; print('no JSON'); print('[1]'); print('{\"event\": \"step\"}');"
        "sys.stderr.write('half\\rpython -m ml: No photos.\\n'); sys.exit(2)"
    )
    with start_child(tmp_path, code) as child:
        assert child.wait(20) == 2
        assert child.events() == [{"event": "step"}]
        assert child.events() == []
        assert child.error_line() == "No photos."
        assert "earlier" not in child.stderr_tail()


def test_a_child_runs_at_the_lowest_priority_in_a_process_group_of_its_own(tmp_path: Path, settings: Settings) -> None:
    settings.TRAIN_PRIORITY = "lowest"
    code = (
        "import json, os; print(json.dumps({'event': '', 'nice': os.nice(0),"
        "'idle': os.sched_getscheduler(0) == os.SCHED_IDLE, 'group': os.getpgid(0) == os.getpid()}))"
    )
    with start_child(tmp_path, code) as child:
        assert child.wait(20) == 0
        assert child.events() == [{"event": "", "nice": 19, "idle": True, "group": True}]


PASSED_ON = (
    *("HOME", "OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES", "NCCL_DEBUG", "WANDB_API_KEY", "https_proxy", "MASTER_ADDR"),
    *("MASTER_PORT", "RANK", "WORLD_SIZE", "LOCAL_RANK", "TORCHELASTIC_RUN_ID"),
)


def test_a_child_sees_the_variables_of_a_training_and_no_secret_of_the_site(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (*SECRETS, *PASSED_ON):
        monkeypatch.setenv(name, f"value of {name}")
    code = "import json, os; print(json.dumps({'event': '', 'environment': dict(os.environ)}))"
    with start_child(tmp_path, code) as child:
        assert child.wait(20) == 0
        environment = child.events()[0]["environment"]
    assert set(SECRETS) & environment.keys() == set()
    assert {name for name, value in environment.items() if value.startswith("value of")} == set(PASSED_ON)
    assert environment["PATH"] == os.environ["PATH"]


def test_leaving_the_block_kills_the_child_and_its_descendants_in_other_sessions(tmp_path: Path) -> None:
    with start_child(tmp_path, WITH_DESCENDANT) as child:
        descendant = first_event(child)["pid"]
        assert is_running(descendant)
    wait_until(lambda: not is_running(descendant))
    assert child.wait(0) == -signal.SIGKILL


def test_a_stopped_child_may_clean_up(tmp_path: Path) -> None:
    with start_child(tmp_path, CLEANING_UP) as child:
        first_event(child)
        child.stop()
        assert child.events() == [{"event": "cleaned up"}]
        assert child.wait(0) == 0


def test_a_child_that_ignores_the_interrupt_is_killed(tmp_path: Path) -> None:
    with start_child(tmp_path, f"import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); {SLEEPING}") as child:
        first_event(child)
        child.stop(patience=0.1)
        assert child.wait(0) == -signal.SIGKILL


WORKER = """
import sys, time
from pathlib import Path
from tests.helpers.child_process import WITH_DESCENDANT, first_event, start_child
child = start_child(Path(sys.argv[1]), WITH_DESCENDANT)
print(child._process.pid, first_event(child)["pid"], flush=True)
time.sleep(60)
"""


def test_a_child_dies_with_its_worker_and_the_next_attempt_kills_its_descendants(tmp_path: Path) -> None:
    environment = os.environ | {"DJANGO_SETTINGS_MODULE": "tests.settings"}
    command = [sys.executable, "-c", WORKER, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdout is not None
        child, descendant = map(int, worker.stdout.readline().split())
        assert is_running(child) and is_running(descendant)
        worker.kill()
    wait_until(lambda: not is_running(child))
    assert is_running(descendant)
    with start_child(tmp_path, "pass") as next_child:
        assert not is_running(descendant)
        assert next_child.wait(20) == 0


def test_work_whose_lock_another_process_keeps_is_not_started(tmp_path: Path) -> None:
    """Such as a worker in another container, whose processes cannot be killed from here."""
    with lock_file(tmp_path / "lock"), raises_code(WorkHeld, "work_held", "lock"):
        take_lock(tmp_path / "lock", patience=0.2)
    take_lock(tmp_path / "lock", patience=0.2).close()


@pytest.mark.parametrize(
    ("code", "stderr", "reason"),
    [
        (-9, "", "It was killed (SIGKILL). Perhaps it ran out of memory."),
        (-11, "", "It was killed (SIGSEGV)."),
        (1, "Traceback\n  …\nValueError: no\n", "It ended with exit code 1: ValueError: no"),
        (1, "", "It ended with exit code 1."),
    ],
)
def test_an_end_without_an_error_line_is_described(code: int, stderr: str, reason: str) -> None:
    assert exit_reason(code, stderr) == reason
