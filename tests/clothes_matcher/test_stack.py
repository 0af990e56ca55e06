"""The supervisor and its folder, with small processes in place of the site's."""

import subprocess
import sys
from pathlib import Path

import pytest

from clothes_matcher import stack

ROOT = Path(__file__).parent.parent.parent

STOP_AFTER_A_KEEPER_DIED = """
import os, signal, sys, threading, time
from clothes_matcher.stack import Supervisor

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


def test_a_supervisor_that_lost_a_keeper_can_still_be_stopped() -> None:
    command = [sys.executable, "-c", STOP_AFTER_A_KEEPER_DIED]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=30)
    assert result.stdout == "ended\n", result.stderr


def test_a_folder_is_locked_for_one_demo_at_a_time(tmp_path: Path) -> None:
    first = stack.lock_folder(tmp_path)
    with pytest.raises(stack.StackError, match=f"A demo runs in {tmp_path} already"):
        stack.lock_folder(tmp_path)
    first.close()
    stack.lock_folder(tmp_path).close()


@pytest.mark.parametrize("port", [-1, 0, 65536, 99999])
def test_a_number_that_is_no_port_is_refused(port: int) -> None:
    with pytest.raises(stack.StackError, match="no port"):
        stack.require_free_port("127.0.0.1", port)
