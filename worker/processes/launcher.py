"""exec wrapper: sets niceness and PR_SET_PDEATHSIG, then execs the command.

Run as a file with `python -I -S`: `launcher.py PARENT PRIORITY COMMAND…`, where PARENT is a process id or `parent` (the
process that started this one), and PRIORITY is `lowest` or `normal`. It imports only the standard library, so it takes
a hundredth of a second. The alternative, code between fork and exec (`preexec_fn`), may deadlock in a process with
threads.
"""

import contextlib
import ctypes
import os
import signal
import sys
from pathlib import Path

_PR_SET_PDEATHSIG = 1  # Linux: "send me this signal when my parent dies"
_OOM_SCORE = "800"  # of 1000: when memory runs out, the kernel kills this process before those that answer queries


def launch(parent: str, priority: str, command: list[str]) -> None:
    """Exec `command`, to be killed when its parent dies. Never returns."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs inherit that it is ignored
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if parent != "parent" and os.getppid() != int(parent):  # the parent died before prctl took effect
            sys.exit(f"process {parent} is gone")
        with contextlib.suppress(OSError):
            Path("/proc/self/oom_score_adj").write_text(_OOM_SCORE)
    if priority == "lowest":
        _lower_priority()
    os.execvp(command[0], command)  # noqa: S606 - the command comes from our own worker


def _lower_priority() -> None:
    """Use the processor and the disk only when no other process does."""
    os.nice(19)
    if hasattr(os, "SCHED_IDLE"):
        with contextlib.suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


if __name__ == "__main__":
    launch(sys.argv[1], sys.argv[2], sys.argv[3:])
