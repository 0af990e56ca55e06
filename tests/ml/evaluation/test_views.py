import numpy as np
import pytest
from PIL import Image

from ml.data.manifest import Manifest, Photo
from ml.evaluation.views import SEED, read_clean, read_phone_view
from ml.images.phone_view import simulate_from_file
from ml.images.pictures import PictureError, read_pixels
from tests.helpers.colour_encoder import PREPROCESSING
from tests.helpers.drawn_pictures import drawn_folder
from tests.helpers.errors import raises_code


@pytest.fixture
def manifest(tmp_path) -> Manifest:
    paths = drawn_folder(tmp_path, 4)
    return Manifest(tmp_path, tuple(Photo(path.name, "Hat", path.stem, "val") for path in paths))


def test_the_clean_view_is_the_photo_as_embed_reads_it(manifest):
    photo = manifest.photos[1]
    assert np.array_equal(read_clean(manifest, PREPROCESSING, photo), read_pixels(manifest.file(photo), PREPROCESSING))


def test_the_clean_view_of_a_box_is_the_crop(manifest):
    whole = manifest.photos[0]
    boxed = Photo(whole.path, "Hat", "0", "val", {"box": "10,20,50,70"})
    with Image.open(manifest.file(whole)) as picture:
        expected = PREPROCESSING(picture.convert("RGB").crop((10, 20, 50, 70)))
    assert np.array_equal(read_clean(manifest, PREPROCESSING, boxed), expected)


def test_the_phone_view_is_simulated_on_a_background_of_the_manifest(manifest):
    files = [manifest.file(photo) for photo in manifest.photos]
    for photo, file in zip(manifest.photos, files, strict=True):
        expected = PREPROCESSING(simulate_from_file(file, files, SEED))
        assert np.array_equal(read_phone_view(manifest, PREPROCESSING, photo), expected)


def test_the_phone_view_differs_from_the_clean_one_and_is_deterministic(manifest):
    photo = manifest.photos[2]
    first, second = (read_phone_view(manifest, PREPROCESSING, photo) for _ in range(2))
    assert np.array_equal(first, second)
    assert not np.array_equal(first, read_clean(manifest, PREPROCESSING, photo))
    assert first.shape == (3, 8, 8)


@pytest.mark.parametrize("read", [read_clean, read_phone_view])
def test_a_broken_picture_is_named(manifest, read):
    photo = manifest.photos[3]
    manifest.file(photo).write_text("no picture")
    with raises_code(PictureError, "picture_unreadable", "003.jpg"):
        read(manifest, PREPROCESSING, photo)
