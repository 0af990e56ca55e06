"""Becomes another program, after having arranged what only a process itself can: its priority, and when it dies.

Run as a file of its own with `python -I -S`: `launching.py PARENT PRIORITY COMMAND…`, where PARENT is a process id or
just `parent`, and PRIORITY is `lowest` or `normal`. It imports nothing of ours, so it takes a hundredth of a second.
The alternative, code between fork and exec, may hang in a worker that has threads.
"""

import contextlib
import ctypes
import os
import signal
import sys
from pathlib import Path

_PR_SET_PDEATHSIG = 1  # Linux: "send me this signal when my parent dies"
_FIRST_OUT_OF_MEMORY = "800"  # of 1000: when memory is short the kernel ends this program, not one that answers people


def launch(parent: str, priority: str, command: list[str]) -> None:
    """Become `command` until its parent dies. Never returns."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs inherit that it is ignored
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if parent != "parent" and os.getppid() != int(parent):  # it died before this could be asked for
            sys.exit(f"process {parent} is gone")
        with contextlib.suppress(OSError):
            Path("/proc/self/oom_score_adj").write_text(_FIRST_OUT_OF_MEMORY)
    if priority == "lowest":
        _step_back()
    os.execvp(command[0], command)  # noqa: S606 - the command comes from our own worker


def _step_back() -> None:
    """Run, and use the disk, only when nobody else wants to."""
    os.nice(19)
    if hasattr(os, "SCHED_IDLE"):
        with contextlib.suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


if __name__ == "__main__":
    launch(sys.argv[1], sys.argv[2], sys.argv[3:])
