from pathlib import Path

import pytest

from ml.data.layouts.clothing_dataset import convert
from ml.data.layouts.source_files import ConversionError
from ml.data.manifest import read_manifest, write_manifest
from tests.helpers.drawn_pictures import drawn_folder

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


def test_paths_lead_from_the_manifest_to_the_picture(clothing, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    write_manifest(elsewhere / "m.csv", convert(clothing, elsewhere))
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
def test_a_source_that_breaks_its_promise_is_refused(clothing, row, complaint):
    (clothing / "labels.csv").write_text(HEADING + "001.jpg,Skirt,lower_body,2,True,val\n" + row)
    with pytest.raises(ConversionError, match=complaint):
        convert(clothing, clothing)


@pytest.mark.parametrize("text", ["", "image\n", "colour,size\nred,3\n"])
def test_a_table_without_lines_or_columns_is_refused(clothing, text):
    (clothing / "labels.csv").write_text(text)
    with pytest.raises(ConversionError):
        convert(clothing, clothing)
