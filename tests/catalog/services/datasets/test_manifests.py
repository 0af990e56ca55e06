"""Manifests of staff: listing, reading, checking and writing them."""

from pathlib import Path
from typing import Any

import pytest

from catalog.errors import Refused
from catalog.services.datasets.manifests import (
    manifest_check,
    manifest_names,
    manifest_path,
    manifest_rows,
    manifest_write,
)

HEAD = "path,label,item,split"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, settings: Any) -> Path:
    settings.TRAINING_DATA_DIR = tmp_path / "manifests"
    (tmp_path / "manifests" / "shop").mkdir(parents=True)
    (tmp_path / "secret.csv").write_text(HEAD)
    return tmp_path / "manifests"


def write_manifest(folder: Path, *lines: str, head: str = HEAD) -> Path:
    for line in lines:
        (folder / line.split(",")[0]).write_bytes(b"a picture, perhaps")
    path = folder / "photos.csv"
    path.write_text("\n".join((head, *lines)) + "\n")
    return path


def refusal(check: Any, *args: Any) -> tuple[str, str]:
    """The code and the detail of the error."""
    with pytest.raises(Refused) as caught:
        list(check(*args) or ())
    return caught.value.code, caught.value.detail


def test_manifests_below_the_folder_are_listed(folder: Path) -> None:
    for name in ("b.csv", "shop/a.csv", "shop/a.jpg"):
        (folder / name).touch()
    assert manifest_names() == ["b.csv", "shop/a.csv"]
    assert manifest_path("shop/a.csv") == folder / "shop" / "a.csv"


def test_a_missing_folder_has_no_manifests(settings: Any, tmp_path: Path) -> None:
    settings.TRAINING_DATA_DIR = tmp_path / "nowhere"
    assert manifest_names() == []
    assert refusal(manifest_path, "a.csv")[0] == "manifest_unknown"


@pytest.mark.parametrize(
    "name", ["", ".", "shop", "none.csv", "../secret.csv", "shop/../../secret.csv", "a\0.csv", "\ud800.csv", "x" * 5000]
)
def test_names_without_a_manifest_below_the_folder_are_refused(name: str) -> None:
    assert refusal(manifest_path, name)[0] == "manifest_unknown"


def test_absolute_paths_and_links_out_of_the_folder_are_refused(folder: Path, tmp_path: Path) -> None:
    (folder / "link.csv").symlink_to(tmp_path / "secret.csv")
    (folder / "ring.csv").symlink_to(folder / "ring.csv")
    for name in (str(tmp_path / "secret.csv"), "link.csv", "ring.csv"):
        assert refusal(manifest_path, name)[0] == "manifest_unknown"


def test_rows_have_all_columns_and_absolute_paths(folder: Path) -> None:
    path = write_manifest(folder / "shop", "a.jpg,Hat,1,train,x", head=f"{HEAD},more")
    assert list(manifest_rows(path)) == [
        {"path": str(folder / "shop" / "a.jpg"), "label": "Hat", "item": "1", "split": "train", "more": "x"}
    ]


@pytest.mark.parametrize(
    ("content", "mentioned"),
    [
        (b"", "path, label, item, split"),
        (b"path,label,split\n", "item"),
        (b"path,label,item,split\na,b,c\n", "Line 2"),
        (b"path,label,item,split\na,b,c,train,e\n", "Line 2"),
        (b"path,label,item,split\na,,c,train\n", "label"),
        (b"path,label,item,split\n\xff,b,c,train\n", "utf-8"),
        (b'path,label,item,split\n"a,b,c,train\n', "end of data"),
        (b"path,label,item,split\n" + b"a" * 200_000 + b",b,c,train\n", "field larger"),
    ],
)
def test_a_file_that_is_not_a_manifest_is_refused(folder: Path, content: bytes, mentioned: str) -> None:
    path = folder / "photos.csv"
    path.write_bytes(content)
    code, detail = refusal(manifest_rows, path)
    assert code == "manifest_unreadable"
    assert mentioned in detail
    assert str(folder) not in detail


def test_a_written_manifest_is_read_back(folder: Path) -> None:
    rows = [
        {"path": "/a, b.jpg", "label": 'Hat "felt"', "item": "1", "split": "train", "box": ""},
        {"path": "/c\nd.jpg", "label": "Ż", "item": "2", "split": "val", "shop": "ours"},
    ]
    manifest_write(folder / "out.csv", rows)
    assert list(manifest_rows(folder / "out.csv")) == [rows[0] | {"shop": ""}, rows[1] | {"box": ""}]
    assert [path.name for path in folder.iterdir() if path.is_file()] == ["out.csv"]


def test_a_correct_manifest_passes_the_check(folder: Path) -> None:
    manifest_check(write_manifest(folder, "a.jpg,Hat,1,train", "b.jpg,Hat,2,train", "c.jpg,Hat,3,val"))


def test_labels_without_train_photos_pass_the_check(folder: Path) -> None:
    manifest_check(
        write_manifest(folder, "a.jpg,Hat,1,train", "b.jpg,Hat,2,train", "c.jpg,Sock,3,val", "d.jpg,Sock,4,test")
    )


@pytest.mark.parametrize(
    ("lines", "mentioned"),
    [
        (["a.jpg,Hat,1,train", "b.jpg,Hat,1,val"], "'1'"),
        (["a.jpg,Hat,1,practice"], "'practice'"),
        (["a.jpg,Hat,1"], "Line 2"),
        ([], "no photos"),
    ],
)
def test_a_manifest_that_training_cannot_read_is_refused(folder: Path, lines: list[str], mentioned: str) -> None:
    code, detail = refusal(manifest_check, write_manifest(folder, *lines))
    assert code == "manifest_unfit"
    assert mentioned in detail


def test_a_missing_photo_is_named_without_the_folder(folder: Path) -> None:
    path = write_manifest(folder, "a.jpg,Hat,1,train")
    (folder / "a.jpg").unlink()
    code, detail = refusal(manifest_check, path)
    assert code == "manifest_unfit"
    assert detail.startswith("'a.jpg' ")
    path.write_text("no table")
    assert str(folder) not in refusal(manifest_check, path)[1]
