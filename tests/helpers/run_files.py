"""Files created once per test run and shared by its processes, such as compressed static files."""

import atexit
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import IO

from ml.formats.file_lock import lock_file


def make_once(name: str, make: Callable[[Path], object]) -> Path:
    """Return the folder `name` of this test run; the first caller calls `make` with an empty folder.

    The other processes wait for it. The folder must not be changed.
    """
    folder = _run_folder() / name
    with _wait_for_lock(folder.with_suffix(".lock")):
        if not folder.exists():
            part = folder.with_suffix(".part")
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir()
            make(part)
            part.rename(folder)
    return folder


def _wait_for_lock(file: Path) -> IO[bytes]:
    while (handle := lock_file(file)) is None:
        time.sleep(0.1)
    return handle


@cache
def _run_folder() -> Path:
    """Return the folder of the run (tests/settings.py); outside a test run, as in a benchmark, one of this process."""
    if folder := os.environ.get("TEST_RUN_DIR"):
        Path(folder).mkdir(exist_ok=True)
        return Path(folder)
    temporary = Path(tempfile.mkdtemp(prefix="cm-run-"))
    atexit.register(shutil.rmtree, temporary, ignore_errors=True)
    return temporary
