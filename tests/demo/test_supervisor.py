"""The supervisor of the demo, with small processes instead of the site's."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from demo import supervisor
from tests.helpers.errors import raises_code
from tests.helpers.site import wait_until

ROOT = Path(__file__).resolve().parents[2]


def run(code: str) -> str:
    """Run Python code in a process, which must end by itself, and return what it prints."""
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=30).stdout


STOP_AFTER_A_PARENT_DIED = """
import os, signal, sys, threading, time
from demo.supervisor import Supervisor

supervisor = Supervisor(sys.stderr)
for name in ("one", "two"):
    supervisor.add_process(name, "exec sleep 600")

def stop():
    while not supervisor._all_started():
        time.sleep(0.05)
    os.kill(supervisor._processes["one"]["process"].pid, signal.SIGKILL)
    supervisor.terminate()

threading.Thread(target=stop).start()
supervisor.loop()
print("ended")
"""


def test_a_supervisor_whose_process_lost_its_parent_can_still_be_stopped() -> None:
    assert run(STOP_AFTER_A_PARENT_DIED) == "ended\n"


STOP_WITH_A_FULL_DISK = """
import threading, time
from pathlib import Path
from demo.supervisor import Supervisor, open_log

with open_log(Path("/dev/full")) as log:
    supervisor = Supervisor(log)
    supervisor.add_process("one", "echo hello; exec sleep 600")
    threading.Timer(1, supervisor.terminate).start()
    supervisor.loop()
print("ended")
"""


def test_a_full_disk_loses_lines_of_the_log_and_does_not_end_the_supervisor() -> None:
    assert run(STOP_WITH_A_FULL_DISK) == "ended\n"


def test_a_folder_is_locked_for_one_demo_at_a_time(tmp_path: Path) -> None:
    first = supervisor.lock_folder(tmp_path)
    with raises_code(supervisor.StackError, "folder_in_use", tmp_path):
        supervisor.lock_folder(tmp_path)
    first.close()
    supervisor.lock_folder(tmp_path).close()


@pytest.mark.parametrize("port", [-1, 0, 65536, 99999])
def test_an_invalid_port_is_refused(port: int) -> None:
    with raises_code(supervisor.StackError, "port_invalid", port):
        supervisor.require_free_port("127.0.0.1", port)


@pytest.mark.parametrize("url", ["redis://127.0.0.1:1/0", "unix:///nowhere/redis.sock", "nonsense"])
def test_an_unreachable_redis_is_refused(url: str) -> None:
    with raises_code(supervisor.StackError, "redis_unreachable", "REDIS_URL"):
        supervisor.require_redis(url)


def test_a_reloading_command_runs_again_when_a_module_changes(tmp_path: Path) -> None:
    for package in supervisor._PACKAGES:
        (tmp_path / package).mkdir()
    starts = tmp_path / "starts.txt"
    command = supervisor.reload_command(f"exec sh -c 'echo started >> {starts}; sleep 60'", tmp_path)
    watcher = subprocess.Popen(["/bin/sh", "-c", command], env=supervisor.process_environment(), start_new_session=True)

    def change_and_count() -> bool:
        (tmp_path / "catalog" / "module.py").write_text(f"changed_at = {time.monotonic()}")
        return starts.read_text().count("started") >= 2

    try:
        wait_until(starts.exists, "the first start")
        wait_until(change_and_count, "the restart")
    finally:
        os.killpg(watcher.pid, signal.SIGTERM)
        watcher.wait(timeout=20)
