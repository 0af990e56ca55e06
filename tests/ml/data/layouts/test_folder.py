from ml.data.layouts.folder import convert
from ml.data.layouts.source_files import ConversionError
from tests.helpers.drawn_pictures import drawn_folder
from tests.helpers.errors import raises_code


def test_the_first_folder_of_a_path_is_the_label(tmp_path):
    drawn_folder(tmp_path / "Hat", 2)
    drawn_folder(tmp_path / "Shoe" / "red", 1)
    photos = convert(tmp_path, tmp_path.parent)
    assert [(photo.label, photo.item) for photo in photos] == [
        ("Hat", "Hat/000"),
        ("Hat", "Hat/001"),
        ("Shoe", "Shoe/red/000"),
    ]
    assert photos[0].path == f"{tmp_path.name}/Hat/000.jpg"


def test_pictures_outside_a_label_folder_are_refused(tmp_path):
    drawn_folder(tmp_path, 1)
    with raises_code(ConversionError, "folder_missing", "000.jpg"):
        convert(tmp_path, tmp_path)
