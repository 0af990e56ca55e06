"""Crop boxes: conversion to pixels, bounds, minimum size."""

import pytest

from catalog.errors import Refused
from catalog.photos.crops import Crop, crop_box, is_within_photo, require_min_size
from tests.helpers.errors import raises_code


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
def test_a_crop_is_converted_to_pixels(box: Crop, pixels: tuple[int, int, int, int]) -> None:
    assert is_within_photo(box)
    assert crop_box(box, 300, 400) == pixels


@pytest.mark.parametrize("box", [crop(0.5, 0, 0.6, 1), crop(0, 0.5, 1, 0.6)])
def test_a_box_beyond_the_photo_is_invalid(box: Crop) -> None:
    assert not is_within_photo(box)


def test_a_crop_has_a_minimum_size() -> None:
    require_min_size(crop(0, 0, 0.16, 0.16), 100, 100)
    with raises_code(Refused, "crop_too_small", "15 x 16"):
        require_min_size(crop(0, 0, 0.15, 0.16), 100, 100)
