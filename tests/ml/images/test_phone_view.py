import random

import numpy as np
import pytest
from PIL import Image

from ml.images.phone_view import _homography, simulate_from_file, simulate_phone_photo
from ml.images.pictures import PictureError
from tests.helpers.drawn_pictures import drawn_folder, drawn_picture
from tests.helpers.errors import raises_code


def simulate_views(count: int, photo: Image.Image | None = None) -> list[Image.Image]:
    rng = random.Random(0)  # noqa: S311 - a simulation
    photo = drawn_picture(1) if photo is None else photo
    return [simulate_phone_photo(photo, drawn_picture(2), rng) for _ in range(count)]


def test_the_same_seed_gives_the_same_pixels():
    first, second = (simulate_phone_photo(drawn_picture(1), drawn_picture(2), random.Random(5)) for _ in range(2))  # noqa: S311
    assert np.array_equal(np.asarray(first), np.asarray(second))


def test_two_views_differ():
    first, second = simulate_views(2)
    assert first.size != second.size or not np.array_equal(np.asarray(first), np.asarray(second))


def test_views_are_rgb_pictures_of_a_sensible_size():
    for view in simulate_views(30):
        assert view.mode == "RGB"
        assert 0.6 < view.width / 96 < 1.5
        assert 0.6 < view.height / 128 < 1.5


def test_about_half_of_the_views_are_mirrored():
    """The left half of the photo is bright and the right half dark."""
    photo = Image.new("RGB", (100, 100), "white")
    photo.paste("black", (50, 0, 100, 100))
    left_is_brighter = [
        np.asarray(view)[:, : view.width // 2].mean() > np.asarray(view).mean() for view in simulate_views(60, photo)
    ]
    assert 18 < sum(left_is_brighter) < 42


@pytest.mark.parametrize("size", [(1, 1), (2, 300), (300, 2), (7, 5)])
def test_photos_of_extreme_sizes_give_a_view(size):
    for view in simulate_views(10, Image.new("RGB", size, "red")):
        assert min(view.size) >= 1


def test_the_homography_maps_the_corners():
    corners = [3.0, 4.0, 1.0, 42.0, 38.0, 37.0, 29.0, 2.0]
    a, b, c, d, e, f, g, h = _homography((20, 30), corners)
    for x, y, expected in ((0, 0, (3, 4)), (0, 30, (1, 42)), (20, 30, (38, 37)), (20, 0, (29, 2))):
        scale = g * x + h * y + 1
        assert ((a * x + b * y + c) / scale, (d * x + e * y + f) / scale) == pytest.approx(expected)


def test_the_view_of_a_file_depends_on_seed_and_name_alone(tmp_path):
    files = drawn_folder(tmp_path, 3)
    first, again, other = (simulate_from_file(files[0], files, seed) for seed in ("a", "a", "b"))
    assert np.array_equal(np.asarray(first), np.asarray(again))
    assert first.size != other.size or not np.array_equal(np.asarray(first), np.asarray(other))


def test_a_broken_file_is_named(tmp_path):
    (tmp_path / "x.jpg").write_text("no picture")
    with raises_code(PictureError, "picture_unreadable", "x.jpg"):
        simulate_from_file(tmp_path / "x.jpg", [tmp_path / "x.jpg"], "a")
