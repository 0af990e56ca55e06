from pathlib import Path

import pytest

from ml.convert import ConversionError, clothing_dataset, drawn_split, fashion_products, folder
from ml.errors import InputError
from ml.manifest import read_manifest, write_manifest
from tests.ml.drawing import drawn_folder

CLOTHING = "image,label,group,contributor,kids,split\n"
PRODUCTS = "id,gender,masterCategory,subCategory,articleType,baseColour,season,year,usage\n"


@pytest.fixture
def clothing(tmp_path) -> Path:
    drawn_folder(tmp_path / "images", 3)
    (tmp_path / "labels.csv").write_text(
        CLOTHING
        + "000.jpg,T-Shirt,upper_body,1,False,train\n"
        + "001.jpg,Skirt,lower_body,2,True,val\n"
        + "002.jpg,T-Shirt,upper_body,1,False,train\n"
    )
    return tmp_path


@pytest.fixture
def products(tmp_path) -> Path:
    for path in drawn_folder(tmp_path / "images", 2):
        path.rename(path.with_stem(f"15{path.stem}"))
    (tmp_path / "styles.csv").write_text(
        PRODUCTS
        + "15000,Men,Apparel,Topwear,Tshirts,Blue,Winter,2015,Sports\n"
        + "15001,Women,Footwear,Shoes,Heels,Red,,2012,Casual\n"
    )
    return tmp_path


def test_clothing_keeps_label_contributor_and_split(clothing, tmp_path):
    photos = clothing_dataset(clothing, tmp_path)
    assert [(photo.path, photo.label, photo.item, photo.split) for photo in photos] == [
        ("images/000.jpg", "T-Shirt", "000", "train"),
        ("images/001.jpg", "Skirt", "001", "val"),
        ("images/002.jpg", "T-Shirt", "002", "train"),
    ]
    assert photos[1].more == {"group": "lower_body", "contributor": "2", "kids": "True"}


def test_paths_lead_from_the_manifest_to_the_picture(clothing, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    write_manifest(elsewhere / "m.csv", clothing_dataset(clothing, elsewhere))
    assert len(read_manifest(elsewhere / "m.csv").photos) == 3


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ("002.jpg,Hat,other,2,False,test\n", "Contributor '2' is in two splits"),
        ("002.jpg,Hat,other,3,False,dev\n", "unknown split 'dev'"),
        ("001.jpg,Hat,other,2,False,val\n", "'001.jpg' is listed twice"),
        ("009.jpg,Hat,other,3,False,val\n", "no such file"),
        ("../labels.csv,Hat,other,3,False,val\n", "no such file"),
        ("002.jpg,,other,3,False,val\n", "'label'"),
    ],
)
def test_clothing_that_breaks_its_promise_is_refused(clothing, row, complaint):
    (clothing / "labels.csv").write_text(CLOTHING + "001.jpg,Skirt,lower_body,2,True,val\n" + row)
    with pytest.raises(ConversionError, match=complaint):
        clothing_dataset(clothing, clothing)


def test_products_become_items_with_a_drawn_split(products):
    first, second = fashion_products(products, products)
    assert (first.path, first.label, first.item) == ("images/15000.jpg", "Tshirts", "15000")
    assert second.more["baseColour"] == "Red"
    assert first.split == drawn_split("15000")


def test_products_without_pictures_are_refused_when_they_are_many(products):
    with (products / "styles.csv").open("a") as file:
        file.write("9,Men,Apparel,Topwear,Tshirts,Blue,Winter,2015,Sports\n")
    with pytest.raises(ConversionError, match="1 of 3 products"):
        fashion_products(products, products)


def test_a_product_without_a_picture_is_left_out_when_they_are_few(products):
    with (products / "styles.csv").open("a") as file:
        for number in range(20_000, 20_120):
            (products / "images" / f"{number}.jpg").write_bytes(b"x")
            file.write(f"{number},Men,Apparel,Topwear,Tshirts,Blue,Winter,2015,Sports\n")
        file.write("9,Men,Apparel,Topwear,Tshirts,Blue,Winter,2015,Sports\n")
    assert len(fashion_products(products, products)) == 122


def test_a_folder_of_folders_takes_labels_from_the_first_level(tmp_path):
    drawn_folder(tmp_path / "Hat", 2)
    drawn_folder(tmp_path / "Shoe" / "red", 1)
    photos = folder(tmp_path, tmp_path.parent)
    assert [(photo.label, photo.item) for photo in photos] == [
        ("Hat", "Hat/000"),
        ("Hat", "Hat/001"),
        ("Shoe", "Shoe/red/000"),
    ]
    assert photos[0].path == f"{tmp_path.name}/Hat/000.jpg"


def test_pictures_without_a_folder_of_their_label_are_refused(tmp_path):
    drawn_folder(tmp_path, 1)
    with pytest.raises(ConversionError, match=r"'000.jpg' lies in no folder"):
        folder(tmp_path, tmp_path)


@pytest.mark.parametrize("layout", [clothing_dataset, fashion_products, folder])
def test_a_missing_source_is_refused(layout, tmp_path):
    with pytest.raises(InputError):
        layout(tmp_path / "none", tmp_path)


@pytest.mark.parametrize("text", ["", "image\n", "colour,size\nred,3\n"])
def test_a_table_without_lines_or_columns_is_refused(clothing, text):
    (clothing / "labels.csv").write_text(text)
    with pytest.raises(ConversionError):
        clothing_dataset(clothing, clothing)


def test_the_drawn_split_is_lasting_and_about_eight_to_one_to_one():
    splits = [drawn_split(str(number)) for number in range(2000)]
    assert [drawn_split("15000"), drawn_split("15001")] == [drawn_split("15000"), drawn_split("15001")]
    assert 1520 < splits.count("train") < 1680
    assert 150 < splits.count("val") < 250
