"""Layout detection of import sources, and the rows of each layout."""

import os
from pathlib import Path
from typing import Any

import pytest

from catalog.errors import Refused
from catalog.importing.rows import RefusedRow, SourceRow
from catalog.importing.sources import open_source
from tests.helpers.shop import Shop


def read(path: Path, layout: str | None = None) -> tuple[str, list[SourceRow], list[RefusedRow]]:
    source = open_source(path, layout)
    rows = list(source.rows())
    assert len(rows) == source.total
    good = [row for row in rows if isinstance(row, SourceRow)]
    return source.layout, good, [row for row in rows if isinstance(row, RefusedRow)]


def refusal(path: Path, layout: str | None = None) -> Refused:
    with pytest.raises(Refused) as caught:
        open_source(path, layout)
    assert caught.value.detail.endswith(".")
    assert "\n" not in caught.value.detail
    return caught.value


# --- folders


def test_a_folder_gives_one_item_per_picture(shop: Shop) -> None:
    for name in ("red_shirt-02.JPG", "b.webp", "notes.txt", ".hidden.jpg", "._b.webp"):
        shop.add(name)

    layout, good, refused = read(shop.root)

    assert layout == "folder"
    assert [(row.item, row.default_name, row.columns) for row in good] == [
        ("shop/b.webp", "b", {}),
        ("shop/red_shirt-02.JPG", "red shirt 02", {}),
    ]
    assert not refused


def test_the_folder_of_a_picture_is_its_category(shop: Shop) -> None:
    for name in ("loose.jpg", "shirts/1.jpg", "men/shoes/1.jpg", "__MACOSX/1.jpg"):
        shop.add(name)

    layout, good, _ = read(shop.root)

    assert layout == "folders"
    assert [(row.item, row.columns["category"]) for row in good] == [
        ("shop/loose.jpg", ""),
        ("shop/men/shoes/1.jpg", "shoes"),
        ("shop/shirts/1.jpg", "shirts"),
    ]


def test_a_link_out_of_the_folder_is_refused(shop: Shop, tmp_path: Path) -> None:
    inner = shop.add("a.jpg")
    (shop.root / "inner.jpg").symlink_to(inner)
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    (shop.root / "outer.jpg").symlink_to(tmp_path / "secret.jpg")
    (shop.root / "round").symlink_to(shop.root)

    _, good, refused = read(shop.root)

    assert [row.file for row in good] == ["a.jpg", "inner.jpg"]
    assert [(row.file, row.code) for row in refused] == [("outer.jpg", "image_outside")]


def test_a_file_name_that_is_not_utf8_is_read_as_latin1(shop: Shop) -> None:
    Path(os.fsdecode(os.fsencode(shop.root) + b"/fr\xfchling.jpg")).write_bytes(b"x")

    _, good, _ = read(shop.root)

    assert good[0].default_name == "frühling"
    assert good[0].path.read_bytes() == b"x"


def test_an_unreadable_folder_is_refused_and_the_others_are_read(shop: Shop, monkeypatch: Any) -> None:
    shop.add("closed/1.jpg")
    shop.add("open/2.jpg")
    iterdir = Path.iterdir

    def guarded(folder: Path) -> Any:
        if folder.name == "closed":
            raise PermissionError(13, "Permission denied")
        return iterdir(folder)

    monkeypatch.setattr(Path, "iterdir", guarded)

    _, good, refused = read(shop.root)

    assert [row.file for row in good] == ["open/2.jpg"]
    assert [(row.file, row.code) for row in refused] == [("closed", "folder_unreadable")]


def test_names_too_long_for_an_id_are_refused(shop: Shop) -> None:
    shop.add(f"{'a' * 100}/{'b' * 120}.jpg")

    assert [row.code for row in read(shop.root)[2]] == ["text_too_long"]


# --- tables


def test_the_labels_layout_is_detected(shop: Shop) -> None:
    shop.add("images/x1.jpg")
    shop.text("image,label,group,kids\nx1.jpg,T-Shirt,upper_body,False\nx2.jpg,Hat,other,True\n", "labels.csv")

    layout, good, refused = read(shop.root)

    assert layout == "labels"
    assert [(row.item, row.default_name) for row in good] == [("x1", "T-Shirt")]
    assert good[0].columns == {"category": "T-Shirt", "attributes": {"group": "upper_body", "kids": "False"}}
    assert [(row.number, row.file, row.code) for row in refused] == [(3, "x2.jpg", "image_missing")]


STYLES = "id,gender,masterCategory,articleType,baseColour,productDisplayName\n"


def test_the_styles_layout_is_detected_and_unquoted_commas_are_joined(shop: Shop) -> None:
    shop.add("images/7.jpg")
    shop.add("images/8.jpg")
    rows = "7,Men,Apparel,Shirts,Navy,Check, slim, navy\n8,Men,Apparel,Shirts,Navy,\n9,Men,Apparel,Shirts,Red,Gone\n"
    shop.text(STYLES + rows, "styles.csv")

    layout, good, refused = read(shop.root)

    assert layout == "styles"
    assert [(row.item, row.columns.get("name"), row.default_name) for row in good] == [
        ("7", "Check,slim,navy", "Navy Shirts"),
        ("8", None, "Navy Shirts"),
    ]
    assert good[0].columns["attributes"] == {"masterCategory": "Apparel"}
    assert (good[0].columns["category"], good[0].columns["colour"]) == ("Shirts", "Navy")
    assert [(row.number, row.code) for row in refused] == [(4, "image_missing")]


def test_the_season_column_of_styles_is_the_collection(shop: Shop) -> None:
    shop.add("images/7.jpg")
    shop.text("id,articleType,baseColour,season,year\n7,Shirts,Navy,Fall,2011\n", "styles.csv")

    columns = read(shop.root)[1][0].columns

    assert (columns["collection"], columns["attributes"]) == ("Fall", {"year": "2011"})


def test_styles_without_a_text_column_refuse_rows_with_extra_cells(shop: Shop) -> None:
    shop.add("images/7.jpg")
    shop.text("id,articleType,baseColour\n7,Shirts,Navy,what\n", "styles.csv")

    assert [row.code for row in read(shop.root)[2]] == ["row_too_many_fields"]


def test_path_traversal_in_a_styles_id_is_refused(shop: Shop, tmp_path: Path) -> None:
    (tmp_path / "secret.jpg").write_bytes(b"x")
    shop.text("id,articleType,baseColour\n../../secret,Shirts,Navy\n", "styles.csv")

    assert [row.code for row in read(shop.root)[2]] == ["image_outside"]


def test_the_items_layout_groups_photos_and_keeps_other_columns_as_attributes(shop: Shop) -> None:
    shop.add("p/1.jpg")
    shop.add("images/2.jpg")
    row = {"item": "A-1", "image": "p/1.jpg", "Name": "Shirt", "color": "red", "price": "9,90 €", "Fabric Type": "knit"}
    shop.table([row, {**row, "image": "2.jpg", "item": ""}], "stock.csv")

    layout, good, _ = read(shop.root)

    assert layout == "items"
    assert [(row.item, row.default_name) for row in good] == [("A-1", "1"), ("2", "2")]
    columns = good[0].columns
    assert (columns["name"], columns["colour"], str(columns["price"]), columns["currency"]) == (
        "Shirt",
        "red",
        "9.90",
        "EUR",
    )
    assert columns["attributes"] == {"Fabric Type": "knit"}


def test_a_training_manifest_can_be_imported(shop: Shop) -> None:
    shop.add("1.jpg")

    _, good, _ = read(shop.text("path,label,item,split\n1.jpg,Shirt,A,train\n", "manifest.csv"))

    assert (good[0].item, good[0].columns["category"]) == ("A", "Shirt")


def test_a_table_made_on_windows_is_read(shop: Shop) -> None:
    shop.add("images/1.jpg")

    _, good, _ = read(shop.add("x.csv", "image;name\r\nimages\\1.jpg;Größe\r\n".encode("cp1252")))

    assert (good[0].item, good[0].columns["name"]) == ("1", "Größe")


@pytest.mark.parametrize(
    ("image", "code"),
    [
        ("../secret.jpg", "image_outside"),
        ("images/../../secret.jpg", "image_outside"),
        ("..\\secret.jpg", "image_outside"),
        ("/etc/passwd", "image_outside"),
        ("link.jpg", "image_outside"),
        ("a\0.jpg", "image_outside"),
        ("gone.jpg", "image_missing"),
        ("images", "image_missing"),
        ("https://shop.example/1.jpg", "image_missing"),
        ("n" * 300, "image_missing"),
        ("", "image_blank"),
    ],
)
def test_a_picture_outside_the_folder_or_missing_is_refused(shop: Shop, tmp_path: Path, image: str, code: str) -> None:
    shop.add("images/1.jpg")
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    (shop.root / "link.jpg").symlink_to(tmp_path / "secret.jpg")

    shop.text(f"item,image\nA,{image}\n")

    assert [row.code for row in read(shop.root)[2]] == [code]


def test_a_bad_cell_refuses_only_its_row(shop: Shop) -> None:
    shop.add("1.jpg")
    shop.text("image,price,url\n1.jpg,cheap,\n1.jpg,5,javascript:alert(1)\n1.jpg,5,\n1.jpg,5,,,more\n")

    _, good, refused = read(shop.root)

    assert [row.number for row in good] == [4]
    codes = [(2, "price_invalid"), (3, "url_invalid"), (5, "row_too_many_fields")]
    assert [(row.number, row.code) for row in refused] == codes


def test_an_unreadable_row_is_refused(shop: Shop) -> None:
    shop.add("1.jpg")
    shop.text(f"image,name\n1.jpg,{'x' * 140_000}\n1.jpg,good\n")

    _, good, refused = read(shop.root)

    assert [row.columns["name"] for row in good] == ["good"]
    assert [row.code for row in refused] == ["row_unreadable"]


# --- refused sources


def test_a_missing_source_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path / "nowhere").code == "source_missing"
    assert refusal(Path("a\0b")).code == "source_missing"


def test_an_empty_folder_is_refused(shop: Shop) -> None:
    shop.add("notes.txt")

    assert refusal(shop.root).code == "source_empty"


def test_a_table_without_rows_is_refused(shop: Shop) -> None:
    assert refusal(shop.text("image,name\n")).code == "source_empty"


def test_a_table_without_a_picture_column_is_refused_with_its_columns(shop: Shop) -> None:
    error = refusal(shop.text("sku,price\n1,2\n"))

    assert error.code == "layout_unknown"
    assert "sku, price" in error.detail


def test_a_picture_is_not_a_source(shop: Shop) -> None:
    assert refusal(shop.add("1.jpg")).code == "layout_unknown"


def test_several_tables_in_a_folder_are_ambiguous(shop: Shop) -> None:
    shop.add("1.jpg")
    shop.text("image\n1.jpg\n", "a.csv")
    shop.text("image\n1.jpg\n", "b.csv")

    assert "a.csv, b.csv" in refusal(shop.root).detail


def test_an_unrelated_table_does_not_hide_the_pictures(shop: Shop) -> None:
    shop.add("1.jpg")
    shop.text("date,visitors\n1,2\n", "visitors.csv")

    assert read(shop.root)[0] == "folder"


def test_a_layout_can_be_forced(shop: Shop) -> None:
    shop.add("images/1.jpg")
    shop.text("image,label\n1.jpg,Hat\n", "labels.csv")

    assert read(shop.root, "folders")[1][0].columns == {"category": "images"}
    assert read(shop.root, "items")[0] == "items"
    assert refusal(shop.root, "styles").code == "layout_unknown"
    assert refusal(shop.root, "nonsense").code == "layout_unknown"
