import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from ml.data.augment import PLAIN_SHARE, ViewGenerator
from ml.images.preprocess import Preprocess
from tests.helpers.drawn_pictures import drawn_picture

SIDE = 64
SQUASHED = Preprocess(SIDE, SIDE, "squash", "bicubic", (127.0,) * 3, (128.0,) * 3)
PHOTOS = [drawn_picture(seed) for seed in range(4)]
MANY = range(1, 60)


def viewer(augment: str, seed: int = 0, photos: list[Image.Image] = PHOTOS, **options: float) -> ViewGenerator:
    return ViewGenerator(photos, SQUASHED, augment, seed, **options)


def plain(photo: int) -> list[np.ndarray]:
    """A photo and its mirror image, each as the network reads it."""
    pictures = (PHOTOS[photo], ImageOps.mirror(PHOTOS[photo]))
    return [np.asarray(SQUASHED.fit(picture)) for picture in pictures]


def is_one_of(view: np.ndarray, known: list[np.ndarray]) -> bool:
    return any(np.array_equal(view, other) for other in known)


def test_the_clean_view_is_the_photo_as_an_encoder_reads_it():
    clean = viewer("phone").clean(1)
    assert clean.dtype == np.uint8
    assert clean.shape == (SIDE, SIDE, 3)
    assert np.array_equal(clean, plain(1)[0])


@pytest.mark.parametrize("augment", ["none", "flip", "phone", "randaugment"])
def test_a_view_depends_on_seed_photo_and_number_alone(augment):
    first, second = viewer(augment), viewer(augment)
    keys = [(photo, number) for photo in range(3) for number in range(1, 4)]
    views = {key: first.view(*key) for key in keys}
    for key in reversed(keys):
        assert np.array_equal(views[key], second.view(*key))


@pytest.mark.parametrize("augment", ["phone", "randaugment"])
def test_another_seed_and_another_number_give_another_view(augment):
    first = [viewer(augment).view(0, number) for number in range(1, 9)]
    assert len({view.tobytes() for view in first}) > 5
    assert any(not np.array_equal(view, viewer(augment, 1).view(0, at)) for at, view in enumerate(first, start=1))


def test_without_augmentation_every_view_is_the_photo():
    assert all(np.array_equal(viewer("none").view(2, number), plain(2)[0]) for number in MANY)


def test_flipped_views_are_the_photo_or_its_mirror_image_about_equally_often():
    views = [viewer("flip").view(2, number) for number in MANY]
    mirrored = sum(np.array_equal(view, plain(2)[1]) for view in views)
    assert all(is_one_of(view, plain(2)) for view in views)
    assert 0.3 < mirrored / len(views) < 0.7


def test_some_phone_views_are_the_photo_itself():
    share = np.mean([is_one_of(viewer("phone").view(0, number), plain(0)) for number in range(1, 200)])
    assert share == pytest.approx(PLAIN_SHARE, abs=0.08)


@pytest.mark.parametrize(("plain_share", "expected"), [(0.0, 0), (1.0, len(MANY))])
def test_the_share_of_plain_views_can_be_chosen(plain_share, expected):
    views = [viewer("phone", plain_share=plain_share).view(3, number) for number in MANY]
    assert sum(is_one_of(view, plain(3)) for view in views) == expected


def test_phone_views_have_other_photos_as_background():
    """A black photo among white ones: light pixels can only come from another photo."""
    black, white = Image.new("RGB", (96, 128)), Image.new("RGB", (96, 128), "white")
    views = viewer("phone", photos=[black, white, white], plain_share=0.0)
    lit = [views.view(0, number).max() > 200 for number in MANY]
    assert 0.1 < np.mean(lit) < 0.6


def test_randaugment_does_not_change_the_state_of_torch_s_generator():
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    viewer("randaugment").view(0, 1)
    assert torch.equal(torch.rand(1), expected)
