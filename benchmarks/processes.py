"""What the processes of a session cost: all that a program has started belongs to its session. Linux only."""

import os
from pathlib import Path

PROC = Path("/proc")
_SESSION, _USER, _SYSTEM = 3, 11, 12  # fields of /proc/PID/stat, counted from the one after the name


def cpu_seconds(session: int) -> float:
    """The time on a core of all living processes of a session, and of their children that have ended."""
    ticks = sum(sum(map(int, fields[_USER : _SYSTEM + 3])) for fields in _members(session).values())
    return ticks / os.sysconf("SC_CLK_TCK")


def memory_mb(session: int) -> float:
    """The memory of a session, where what n processes share counts as an n-th for each (the kernel's PSS)."""
    kilobytes = 0
    for pid in _members(session):
        text = (PROC / str(pid) / "smaps").read_text()
        kilobytes += sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:"))
    return round(kilobytes / 1024, 1)


def _members(session: int) -> dict[int, list[str]]:
    """The fields of each process of the session."""
    found = {}
    for folder in PROC.iterdir():
        if folder.name.isdigit():
            try:
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
            except OSError:  # it has just ended
                continue
            if int(fields[_SESSION]) == session:
                found[int(folder.name)] = fields
    return found
