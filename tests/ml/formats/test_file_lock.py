"""The file lock: exclusive, inherited by child processes, released by the kernel."""

import subprocess
import sys
from pathlib import Path

import pytest

from ml.formats.file_lock import lock_file


def is_free(path: Path) -> bool:
    handle = lock_file(path)
    if handle is not None:
        handle.close()
    return handle is not None


def test_a_lock_is_held_until_its_handle_is_closed(tmp_path: Path) -> None:
    handle = lock_file(tmp_path / "lock")
    assert handle is not None
    assert not is_free(tmp_path / "lock")
    handle.close()
    assert is_free(tmp_path / "lock")


def test_a_renamed_file_stays_locked(tmp_path: Path) -> None:
    handle = lock_file(tmp_path / "draft")
    assert handle is not None
    (tmp_path / "draft").rename(tmp_path / "lock")
    assert not is_free(tmp_path / "lock")
    handle.close()


def test_a_child_that_inherits_the_handle_holds_the_lock_until_it_dies(tmp_path: Path) -> None:
    handle = lock_file(tmp_path / "lock")
    assert handle is not None
    command = [sys.executable, "-c", "import time; time.sleep(60)"]
    with subprocess.Popen(command, pass_fds=[handle.fileno()]) as child:
        handle.close()
        assert not is_free(tmp_path / "lock")
        child.kill()
    assert is_free(tmp_path / "lock"), "the child is reaped, so its copy of the handle is closed"


def test_without_create_a_missing_file_is_an_error_and_not_created(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        lock_file(tmp_path / "lock", create=False)
    assert not (tmp_path / "lock").exists()
