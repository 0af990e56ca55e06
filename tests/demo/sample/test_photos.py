"""Photos of the sample catalogue: deterministic, distinct, and those of an item alike."""

import hashlib

import numpy as np
import pytest
from PIL import Image

from demo.sample import SampleItem, draw_photo, phone_photo, sample_items
from tests.helpers import fresh_interpreter
from tests.helpers.picture_measures import difference, garment_colours, pixels

HASH_PHOTO = """
import hashlib
from demo.sample import draw_photo, phone_photo, sample_items
item = sample_items(4)[3]
for image in (draw_photo(item), draw_photo(item, 1), phone_photo(item, 2, (96, 128))):
    print(hashlib.sha256(image.tobytes()).hexdigest())
"""


@pytest.fixture(scope="module")
def items() -> list[SampleItem]:
    return sample_items(50)


@pytest.fixture(scope="module")
def photos(items: list[SampleItem]) -> list[tuple[Image.Image, Image.Image]]:
    """Both photos of each item, small."""
    return [(draw_photo(item, 0, (150, 200)), draw_photo(item, 1, (150, 200))) for item in items]


def test_a_photo_is_rgb_and_three_by_four_by_default(items: list[SampleItem]) -> None:
    photo = draw_photo(items[0])
    assert (photo.mode, photo.size) == ("RGB", (300, 400))


@pytest.mark.parametrize("size", [(30, 40), (75, 100), (211, 397), (400, 300)])
def test_a_photo_has_the_requested_size(items: list[SampleItem], size: tuple[int, int]) -> None:
    assert {draw_photo(item, 1, size).size for item in items[:25]} == {size}
    assert phone_photo(items[0], 0, size).size == size


def test_a_photo_drawn_twice_is_the_same(items: list[SampleItem]) -> None:
    for view in (0, 1):
        assert draw_photo(items[5], view).tobytes() == draw_photo(items[5], view).tobytes()
    assert phone_photo(items[5], 3, (96, 128)).tobytes() == phone_photo(items[5], 3, (96, 128)).tobytes()


def test_a_fresh_interpreter_draws_the_same_pixels(items: list[SampleItem]) -> None:
    answer = fresh_interpreter.run_program(HASH_PHOTO)
    here = (draw_photo(items[3]), draw_photo(items[3], 1), phone_photo(items[3], 2, (96, 128)))
    assert answer.split() == [hashlib.sha256(image.tobytes()).hexdigest() for image in here]


def test_no_two_photos_are_identical(photos: list[tuple[Image.Image, Image.Image]]) -> None:
    assert len({photo.tobytes() for pair in photos for photo in pair}) == 2 * len(photos)


def test_the_second_photo_is_more_than_a_copy_of_the_first(photos: list[tuple[Image.Image, Image.Image]]) -> None:
    assert min(difference(front, other) for front, other in photos) > 0.03


def test_photos_of_an_item_are_closer_than_those_of_other_items(
    photos: list[tuple[Image.Image, Image.Image]],
) -> None:
    """By the colours of the garment alone: the other item's are nearer for one item in five at most."""
    fronts, others = (np.array([garment_colours(pair[view]) for pair in photos]) for view in (0, 1))
    apart = np.abs(others[:, None] - fronts[None]).sum(axis=-1)
    own, rest = np.diag(apart), apart[~np.eye(len(photos), dtype=bool)]
    assert (apart.argmin(axis=1) == np.arange(len(photos))).mean() > 0.6
    assert own.mean() < 0.6 * rest.mean()


def test_a_shop_photo_shows_the_whole_garment_on_a_light_backdrop(
    photos: list[tuple[Image.Image, Image.Image]],
) -> None:
    for front, _ in photos:
        frame = pixels(front)
        border = np.concatenate([frame[0], frame[:, 0], frame[:, -1]])
        assert border.min() > 0.75
        assert np.abs(frame - border.mean(axis=0)).max() > 0.08


def test_a_phone_photo_is_far_from_the_shop_photo_and_from_other_phone_photos(items: list[SampleItem]) -> None:
    item, size = items[0], (150, 200)
    clean, first, second = draw_photo(item, 0, size), phone_photo(item, 0, size), phone_photo(item, 1, size)
    assert difference(clean, first) > 0.1
    assert difference(first, second) > 0.05


def test_a_phone_photo_keeps_the_garment_in_its_middle(items: list[SampleItem]) -> None:
    """A red T-shirt stays redder than anything it may lie on."""
    red = next(item for item in sample_items(600) if item.colour == "red" and item.category == "Sweater")
    for seed in range(5):
        middle = pixels(phone_photo(red, seed, (90, 120)))[45:75, 30:60]
        assert np.median(middle[..., 0] - middle[..., 2]) > 0.2
