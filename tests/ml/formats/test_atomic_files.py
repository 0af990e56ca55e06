import subprocess
import sys
from pathlib import Path

import pytest

from ml.formats.atomic_files import UnwritableError, written_whole
from ml.runtime.allocator import keep_freed_pages

ROOT = Path(__file__).resolve().parents[3]


def test_a_file_appears_at_the_end_and_not_before(tmp_path):
    with written_whole(tmp_path / "a") as file:
        file.write(b"whole")
        file.flush()
        assert [path.name for path in tmp_path.iterdir()] == ["a.part"]
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a": b"whole"}


def test_after_an_error_the_old_file_is_still_there(tmp_path):
    (tmp_path / "a").write_bytes(b"old")
    with pytest.raises(ZeroDivisionError), written_whole(tmp_path / "a") as file:
        file.write(b"new")
        raise ZeroDivisionError
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a": b"old"}


@pytest.mark.parametrize("name", ["none/a", "."])
def test_an_unwritable_place_is_named_at_once(tmp_path, name):
    with pytest.raises(UnwritableError, match=r"Cannot write|is a folder"), written_whole(tmp_path / name):
        pytest.fail("the work must not begin")
    assert list(tmp_path.iterdir()) == []


def test_glibc_takes_the_setting():
    """In a process of its own, as it lasts for the life of one."""
    program = "import sys; from ml.runtime.allocator import keep_freed_pages; sys.exit(not keep_freed_pages())"
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False).returncode == 0


def test_a_system_without_mallopt_is_left_alone(monkeypatch):
    monkeypatch.setattr("ml.runtime.allocator.ctypes.CDLL", lambda _: object())
    assert not keep_freed_pages()
    monkeypatch.setattr("ml.runtime.allocator.sys.platform", "darwin")
    assert not keep_freed_pages()
