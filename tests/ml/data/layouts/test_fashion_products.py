from pathlib import Path

import pytest

from ml.data.layouts.fashion_products import convert
from ml.data.layouts.source_files import ConversionError
from ml.data.layouts.splits import split_by_hash
from tests.helpers.drawn_pictures import drawn_folder
from tests.helpers.errors import raises_code

HEADING = "id,gender,masterCategory,subCategory,articleType,baseColour,season,year,usage\n"


@pytest.fixture
def products(tmp_path) -> Path:
    for path in drawn_folder(tmp_path / "images", 2):
        path.rename(path.with_stem(f"15{path.stem}"))
    (tmp_path / "styles.csv").write_text(
        HEADING
        + "15000,Men,Apparel,Topwear,Tshirts,Blue,Winter,2015,Sports\n"
        + "15001,Women,Footwear,Shoes,Heels,Red,,2012,Casual\n"
    )
    return tmp_path


def test_products_become_items_with_a_split_by_hash(products):
    first, second = convert(products, products)
    assert (first.path, first.label, first.item) == ("images/15000.jpg", "Tshirts", "15000")
    assert second.extra["baseColour"] == "Red"
    assert first.split == split_by_hash("15000")


def test_many_products_without_pictures_are_refused(products):
    with (products / "styles.csv").open("a") as file:
        file.write("9,Men,Apparel,Topwear,Tshirts,Blue,Winter,2015,Sports\n")
    with raises_code(ConversionError, "files_missing", "1 of 3"):
        convert(products, products)


def test_a_few_products_without_pictures_are_left_out(products):
    with (products / "styles.csv").open("a") as file:
        for number in range(20_000, 20_120):
            (products / "images" / f"{number}.jpg").write_bytes(b"x")
            file.write(f"{number},Men,Apparel,Topwear,Tshirts,Blue,Winter,2015,Sports\n")
        file.write("9,Men,Apparel,Topwear,Tshirts,Blue,Winter,2015,Sports\n")
    assert len(convert(products, products)) == 122
