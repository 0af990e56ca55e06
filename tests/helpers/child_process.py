"""Small child processes of a worker, started through `ChildProcess`."""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from worker.processes.child import ChildProcess

SLEEPING = 'import time; print(\'{"event": "started"}\', flush=True); time.sleep(60)'

WITH_DESCENDANT = f"""
import subprocess, sys, time
command = [sys.executable, "-c", {SLEEPING!r}]
descendant = subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL)
print('{{"event": "descendant", "pid": %d}}' % descendant.pid, flush=True)
time.sleep(60)
"""
"""Starts another process in a session of its own and names it."""


def start_child(folder: Path, code: str) -> ChildProcess:
    """Run Python code as a child process whose log and lock are in `folder`."""
    return ChildProcess([sys.executable, "-c", code], log=folder / "log.txt", lock=folder / "lock")


def wait_until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def first_event(child: ChildProcess) -> dict[str, Any]:
    """Wait for the first event of a child process."""
    events: list[dict[str, Any]] = []
    wait_until(lambda: events.extend(child.events()) or events)
    return events[0]


def is_running(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
