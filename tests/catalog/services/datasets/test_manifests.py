"""Tables of photos that staff bring along."""

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
    settings.TRAINING_DATA_DIR = tmp_path / "brought"
    (tmp_path / "brought" / "shop").mkdir(parents=True)
    (tmp_path / "secret.csv").write_text(HEAD)
    return tmp_path / "brought"


def table(folder: Path, *lines: str, head: str = HEAD) -> Path:
    for line in lines:
        (folder / line.split(",")[0]).write_bytes(b"a picture, perhaps")
    path = folder / "photos.csv"
    path.write_text("\n".join((head, *lines)) + "\n")
    return path


def refused(check: Any, *args: Any) -> tuple[str, str]:
    with pytest.raises(Refused) as caught:
        list(check(*args) or ())
    return caught.value.code, caught.value.detail


def test_the_tables_below_the_folder_are_listed(folder: Path) -> None:
    for name in ("b.csv", "shop/a.csv", "shop/a.jpg"):
        (folder / name).touch()
    assert manifest_names() == ["b.csv", "shop/a.csv"]
    assert manifest_path("shop/a.csv") == folder / "shop" / "a.csv"


def test_without_the_folder_there_are_none(settings: Any, tmp_path: Path) -> None:
    settings.TRAINING_DATA_DIR = tmp_path / "nowhere"
    assert manifest_names() == []
    assert refused(manifest_path, "a.csv")[0] == "manifest_unknown"


@pytest.mark.parametrize(
    "name", ["", ".", "shop", "none.csv", "../secret.csv", "shop/../../secret.csv", "a\0.csv", "\ud800.csv", "x" * 5000]
)
def test_what_is_not_below_the_folder_is_unknown(name: str) -> None:
    assert refused(manifest_path, name)[0] == "manifest_unknown"


def test_nothing_outside_is_reached_by_its_full_name_or_a_link(folder: Path, tmp_path: Path) -> None:
    (folder / "link.csv").symlink_to(tmp_path / "secret.csv")
    (folder / "ring.csv").symlink_to(folder / "ring.csv")
    for name in (str(tmp_path / "secret.csv"), "link.csv", "ring.csv"):
        assert refused(manifest_path, name)[0] == "manifest_unknown"


def test_rows_have_their_columns_and_the_photos_whole_address(folder: Path) -> None:
    path = table(folder / "shop", "a.jpg,Hat,1,train,x", head=f"{HEAD},more")
    assert list(manifest_rows(path)) == [
        {"path": str(folder / "shop" / "a.jpg"), "label": "Hat", "item": "1", "split": "train", "more": "x"}
    ]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "no column path, label, item, split"),
        (b"path,label,split\n", "no column item"),
        (b"path,label,item,split\na,b,c\n", "Line 2 of the manifest has more or fewer fields"),
        (b"path,label,item,split\na,b,c,train,e\n", "Line 2 of the manifest has more or fewer fields"),
        (b"path,label,item,split\na,,c,train\n", "Line 2 of the manifest has an empty label"),
        (b"path,label,item,split\n\xff,b,c,train\n", "utf-8"),
        (b'path,label,item,split\n"a,b,c,train\n', "end of data"),
        (b"path,label,item,split\n" + b"a" * 200_000 + b",b,c,train\n", "field larger"),
    ],
)
def test_what_is_no_such_table_is_refused(folder: Path, content: bytes, says: str) -> None:
    path = folder / "photos.csv"
    path.write_bytes(content)
    code, detail = refused(manifest_rows, path)
    assert code == "manifest_unreadable"
    assert says in detail
    assert str(folder) not in detail


def test_what_was_written_is_read_again(folder: Path) -> None:
    rows = [
        {"path": "/a, b.jpg", "label": 'Hat "felt"', "item": "1", "split": "train", "box": ""},
        {"path": "/c\nd.jpg", "label": "Ż", "item": "2", "split": "val", "shop": "ours"},
    ]
    manifest_write(folder / "out.csv", rows)
    assert list(manifest_rows(folder / "out.csv")) == [rows[0] | {"shop": ""}, rows[1] | {"box": ""}]
    assert [path.name for path in folder.iterdir() if path.is_file()] == ["out.csv"]


def test_a_table_in_order_passes_the_check(folder: Path) -> None:
    manifest_check(table(folder, "a.jpg,Hat,1,train", "b.jpg,Hat,2,train", "c.jpg,Hat,3,val"))


def test_labels_that_are_only_looked_at_are_no_reason_to_refuse(folder: Path) -> None:
    manifest_check(table(folder, "a.jpg,Hat,1,train", "b.jpg,Hat,2,train", "c.jpg,Sock,3,val", "d.jpg,Sock,4,test"))


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (["a.jpg,Hat,1,train", "b.jpg,Hat,1,val"], "The item '1' is in two splits, train and val."),
        (["a.jpg,Hat,1,practice"], "'a.jpg' is in the split 'practice'"),
        (["a.jpg,Hat,1"], "Line 2 of the manifest has more or fewer fields"),
        ([], "The manifest lists no photos."),
    ],
)
def test_a_table_that_no_training_could_read_is_refused_in_its_words(folder: Path, lines: list[str], says: str) -> None:
    code, detail = refused(manifest_check, table(folder, *lines))
    assert code == "manifest_unfit"
    assert says in detail


def test_a_missing_photo_is_named_and_no_folder_of_the_machine_is(folder: Path) -> None:
    path = table(folder, "a.jpg,Hat,1,train")
    (folder / "a.jpg").unlink()
    code, detail = refused(manifest_check, path)
    assert (code, detail) == ("manifest_unfit", "'a.jpg' is listed, but there is no such file.")
    path.write_text("no table")
    assert str(folder) not in refused(manifest_check, path)[1]
