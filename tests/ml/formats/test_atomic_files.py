from pathlib import Path

import pytest

from ml.formats import atomic_files
from ml.formats.atomic_files import UnwritableError, atomic_folder, atomic_path, atomic_write
from tests.helpers.errors import raises_code


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_file_appears_when_it_is_complete(tmp_path):
    with atomic_write(tmp_path / "a") as file:
        file.write(b"whole")
        file.flush()
        assert [path.name for path in tmp_path.iterdir()] == ["a.part"]
    assert contents(tmp_path) == {"a": b"whole"}


def test_after_an_error_the_old_file_is_still_there(tmp_path):
    (tmp_path / "a").write_bytes(b"old")
    with pytest.raises(ZeroDivisionError), atomic_write(tmp_path / "a") as file:
        file.write(b"new")
        raise ZeroDivisionError
    assert contents(tmp_path) == {"a": b"old"}


@pytest.mark.parametrize(("name", "code"), [("none/a", "unwritable"), (".", "path_is_folder")])
def test_an_unwritable_place_is_named_before_the_work_starts(tmp_path, name, code):
    with raises_code(UnwritableError, code, tmp_path), atomic_write(tmp_path / name):
        pytest.fail("the work must not begin")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("fsync", [False, True])
def test_a_file_that_must_survive_a_power_cut_reaches_the_disk_before_it_is_renamed(tmp_path, monkeypatch, fsync):
    states = []
    monkeypatch.setattr(atomic_files.os, "fsync", lambda _: states.append(contents(tmp_path)))
    with atomic_path(tmp_path / "a", fsync=fsync) as part:
        part.write_bytes(b"whole")
    assert states == ([{"a.part": b"whole"}] if fsync else [])


def test_an_error_without_a_file_is_passed_on(tmp_path):
    with pytest.raises(ZeroDivisionError), atomic_path(tmp_path / "a"):
        raise ZeroDivisionError
    with pytest.raises(FileNotFoundError), atomic_path(tmp_path / "a"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_folder_appears_when_it_is_complete(tmp_path):
    (tmp_path / "a.part").mkdir()
    (tmp_path / "a.part" / "left behind").write_bytes(b"old")
    with atomic_folder(tmp_path / "a", fsync=True) as part:
        (part / "b").write_bytes(b"whole")
        assert not (tmp_path / "a").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert contents(tmp_path / "a") == {"b": b"whole"}


def test_a_folder_is_neither_replaced_nor_left_half_written(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b").write_bytes(b"old")
    with pytest.raises(OSError, match="not empty"), atomic_folder(tmp_path / "a") as part:
        (part / "b").write_bytes(b"new")
    assert contents(tmp_path / "a") == {"b": b"old"}
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
