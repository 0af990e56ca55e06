"""Boxes in shares of a photo's sides."""

import pytest

from catalog.errors import Refused
from catalog.photos.crops import Crop, crop_box, lies_inside, require_large_enough


def crop(x: float, y: float, width: float, height: float) -> Crop:
    return {"x": x, "y": y, "width": width, "height": height}


@pytest.mark.parametrize(
    ("box", "pixels"),
    [
        (crop(0, 0, 1, 1), (0, 0, 300, 400)),
        (crop(0.5, 0.25, 0.5, 0.5), (150, 100, 300, 300)),
        (crop(1 / 3, 0, 2 / 3, 1), (100, 0, 300, 400)),
        (crop(0.1, 0.1, 0.9 + 1e-7, 0.9 + 1e-7), (30, 40, 300, 400)),
    ],
)
def test_shares_become_pixels(box: Crop, pixels: tuple[int, int, int, int]) -> None:
    assert lies_inside(box)
    assert crop_box(box, 300, 400) == pixels


@pytest.mark.parametrize("box", [crop(0.5, 0, 0.6, 1), crop(0, 0.5, 1, 0.6)])
def test_a_box_that_leaves_the_picture_is_not_inside(box: Crop) -> None:
    assert not lies_inside(box)


def test_a_crop_leaves_at_least_what_a_photo_must_have() -> None:
    require_large_enough(crop(0, 0, 0.16, 0.16), 100, 100)
    with pytest.raises(Refused, match="15 x 16") as caught:
        require_large_enough(crop(0, 0, 0.15, 0.16), 100, 100)
    assert caught.value.code == "crop_too_small"
