"""Exclusive file lock (flock) that a child process can inherit; the kernel releases it when all holders end."""

import fcntl
from pathlib import Path
from typing import IO


def lock_file(path: Path, *, create: bool = True) -> IO[bytes] | None:
    """Lock `path` without waiting and return its open handle; None if another process holds the lock.

    The lock belongs to the open handle: it lasts until the last copy of the handle is closed, however the processes
    end. A child process that inherits it (`pass_fds=[handle.fileno()]`) keeps it when this process closes its own.

    Raises FileNotFoundError if the file does not exist and `create` is False; the folder has to exist already.
    """
    handle = path.open("ab" if create else "r+b")
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        handle.close()
        return None
    except OSError:
        handle.close()
        raise
    return handle
