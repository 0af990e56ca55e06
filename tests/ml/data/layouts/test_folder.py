import pytest

from ml.data.layouts.folder import convert
from ml.data.layouts.source_files import ConversionError
from tests.helpers.drawn_pictures import drawn_folder


def test_labels_are_the_folders_of_the_first_level(tmp_path):
    drawn_folder(tmp_path / "Hat", 2)
    drawn_folder(tmp_path / "Shoe" / "red", 1)
    photos = convert(tmp_path, tmp_path.parent)
    assert [(photo.label, photo.item) for photo in photos] == [
        ("Hat", "Hat/000"),
        ("Hat", "Hat/001"),
        ("Shoe", "Shoe/red/000"),
    ]
    assert photos[0].path == f"{tmp_path.name}/Hat/000.jpg"


def test_pictures_without_a_folder_of_their_label_are_refused(tmp_path):
    drawn_folder(tmp_path, 1)
    with pytest.raises(ConversionError, match=r"'000.jpg' lies in no folder"):
        convert(tmp_path, tmp_path)
