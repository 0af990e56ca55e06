from dataclasses import replace
from pathlib import Path

import pytest

from ml.files import UnwritableError
from ml.manifest import Manifest, ManifestError, Photo, data_hash, read_manifest, write_manifest
from tests.ml.drawing import drawn_folder

PHOTOS = (
    Photo("images/000.jpg", "Skirt", "a", "train", {"contributor": "7"}),
    Photo("images/001.jpg", "Skirt", "a", "train", {"contributor": "7"}),
    Photo("images/002.jpg", "Hat, felt", "b", "test", {"contributor": "8"}),
)


@pytest.fixture
def folder(tmp_path) -> Path:
    drawn_folder(tmp_path / "images", 3)
    return tmp_path


def written(folder: Path, text: str) -> Path:
    path = folder / "m.csv"
    path.write_text(text)
    return path


def test_what_was_written_is_read_back(folder):
    write_manifest(folder / "m.csv", PHOTOS)
    manifest = read_manifest(folder / "m.csv")
    assert manifest == Manifest(folder, PHOTOS)
    assert manifest.file(PHOTOS[0]) == folder / "images" / "000.jpg"


def test_columns_may_come_in_any_order_and_with_a_byte_order_mark(folder):
    path = written(folder, "\ufeffsplit,item,label,path\ntest,b,Hat,images/002.jpg\n")
    assert read_manifest(path).photos == (Photo("images/002.jpg", "Hat", "b", "test"),)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "no column path"),
        ("path,label,split\n", "no column item"),
        ("path,label,item,split\n", "lists no photos"),
        ("path,label,item,split\nimages/000.jpg,Hat,a\n", "Line 2"),
        ("path,label,item,split\nimages/000.jpg,Hat,a,train,more\n", "Line 2"),
        ("path,label,item,split\nimages/000.jpg,,a,train\n", "Line 2"),
        ("path,label,item,split\nimages/000.jpg,Hat,a,training\n", "'training'"),
        ("path,label,item,split\nimages/009.jpg,Hat,a,train\n", "no such file"),
        ("path,label,item,split\nimages/000.jpg,Hat,a,train\nimages/000.jpg,Hat,a,train\n", "listed twice"),
        ("path,label,item,split\nimages/000.jpg,Hat,a,train\nimages/001.jpg,Hat,a,val\n", "two splits"),
        ('path,label,item,split\n"images/000.jpg,Hat,a,train\n', "not a CSV"),
    ],
)
def test_a_manifest_that_would_spoil_the_work_is_refused(folder, text, complaint):
    with pytest.raises(ManifestError, match=complaint):
        read_manifest(written(folder, text))


def test_a_missing_manifest_and_one_that_is_no_text_are_refused(folder):
    with pytest.raises(ManifestError, match="No such file"):
        read_manifest(folder / "none.csv")
    with pytest.raises(ManifestError, match="not a CSV"):
        read_manifest(folder / "images" / "000.jpg")


def test_nothing_is_left_where_a_manifest_cannot_be_written(folder):
    with pytest.raises(UnwritableError):
        write_manifest(folder / "images", PHOTOS)
    with pytest.raises(UnwritableError):
        write_manifest(folder / "none" / "m.csv", PHOTOS)
    with pytest.raises(KeyError):
        write_manifest(folder / "m.csv", [PHOTOS[0], replace(PHOTOS[1], more={})])
    assert {path.name for path in folder.iterdir()} == {"images"}


def test_the_data_hash_depends_on_bytes_and_labels_but_not_on_order_or_place(folder, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    drawn_folder(elsewhere, 3)
    moved = [replace(photo, path=Path(photo.path).name) for photo in PHOTOS]
    first = data_hash(Manifest(folder, PHOTOS), PHOTOS)
    assert data_hash(Manifest(elsewhere, tuple(moved)), moved[::-1]) == first
    assert data_hash(Manifest(folder, PHOTOS), PHOTOS[:2]) != first
    assert data_hash(Manifest(folder, PHOTOS), [*PHOTOS[:2], replace(PHOTOS[2], label="Hat")]) != first
    (folder / "images" / "002.jpg").write_bytes(b"x")
    assert data_hash(Manifest(folder, PHOTOS), PHOTOS) != first
