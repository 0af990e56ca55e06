"""CPU time and memory of all processes of a session: a program and everything it has started. Linux only."""

import os
from pathlib import Path

PROC = Path("/proc")
_SESSION, _USER, _SYSTEM = 3, 11, 12  # fields of /proc/PID/stat, counted from the one after the name


def cpu_seconds(session: int) -> float:
    """Return the CPU seconds of all living processes of a session and of their ended children."""
    ticks = sum(sum(map(int, fields[_USER : _SYSTEM + 3])) for fields in _members(session).values())
    return ticks / os.sysconf("SC_CLK_TCK")


def memory_mb(session: int) -> float:
    """Return the memory of a session in MiB; pages shared by n processes count as 1/n for each (the kernel's PSS)."""
    kilobytes = 0
    for pid in _members(session):
        text = (PROC / str(pid) / "smaps").read_text()
        kilobytes += sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:"))
    return round(kilobytes / 1024, 1)


def _members(session: int) -> dict[int, list[str]]:
    """Return the fields of /proc/PID/stat of each process of the session, by process id."""
    members = {}
    for folder in PROC.iterdir():
        if folder.name.isdigit():
            try:
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
            except OSError:  # the process has just ended
                continue
            if int(fields[_SESSION]) == session:
                members[int(folder.name)] = fields
    return members
