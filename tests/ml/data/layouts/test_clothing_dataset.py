from pathlib import Path

import pytest

from ml.data.layouts.clothing_dataset import convert
from ml.data.layouts.source_files import ConversionError
from ml.data.manifest import read_manifest, write_manifest
from tests.helpers.drawn_pictures import drawn_folder
from tests.helpers.errors import raises_code

HEADING = "image,label,group,contributor,kids,split\n"


@pytest.fixture
def clothing(tmp_path) -> Path:
    drawn_folder(tmp_path / "images", 3)
    (tmp_path / "labels.csv").write_text(
        HEADING
        + "000.jpg,T-Shirt,upper_body,1,False,train\n"
        + "001.jpg,Skirt,lower_body,2,True,val\n"
        + "002.jpg,T-Shirt,upper_body,1,False,train\n"
    )
    return tmp_path


def test_label_contributor_and_split_are_kept(clothing, tmp_path):
    photos = convert(clothing, tmp_path)
    assert [(photo.path, photo.label, photo.item, photo.split) for photo in photos] == [
        ("images/000.jpg", "T-Shirt", "000", "train"),
        ("images/001.jpg", "Skirt", "001", "val"),
        ("images/002.jpg", "T-Shirt", "002", "train"),
    ]
    assert photos[1].extra == {"group": "lower_body", "contributor": "2", "kids": "True"}


def test_paths_are_relative_to_the_manifest(clothing, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    write_manifest(elsewhere / "m.csv", convert(clothing, elsewhere))
    assert len(read_manifest(elsewhere / "m.csv").photos) == 3


@pytest.mark.parametrize(
    ("row", "code", "value"),
    [
        ("002.jpg,Hat,other,2,False,test\n", "splits_overlap", "'2'"),
        ("002.jpg,Hat,other,3,False,dev\n", "split_unknown", "'dev'"),
        ("001.jpg,Hat,other,2,False,val\n", "listed_twice", "001.jpg"),
        ("009.jpg,Hat,other,3,False,val\n", "file_missing", "009.jpg"),
        ("../labels.csv,Hat,other,3,False,val\n", "file_missing", "../labels.csv"),
        ("002.jpg,,other,3,False,val\n", "column_missing", "'label'"),
    ],
)
def test_an_inconsistent_source_is_refused(clothing, row, code, value):
    (clothing / "labels.csv").write_text(HEADING + "001.jpg,Skirt,lower_body,2,True,val\n" + row)
    with raises_code(ConversionError, code, value):
        convert(clothing, clothing)


@pytest.mark.parametrize(
    ("text", "code"),
    [("", "nothing_listed"), ("image\n", "nothing_listed"), ("colour,size\nred,3\n", "column_missing")],
)
def test_a_table_without_rows_or_columns_is_refused(clothing, text, code):
    (clothing / "labels.csv").write_text(text)
    with raises_code(ConversionError, code, "labels.csv"):
        convert(clothing, clothing)
