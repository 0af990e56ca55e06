"""Crop boxes of photos, in shares of the photo's sides, so that they are independent of its size."""

from typing import Final

from django.utils.translation import gettext as _

from catalog.errors import Refused
from catalog.photos.validation import SHORT_SIDE

SIDES: Final = ("x", "y", "width", "height")
ROUNDING: Final = 1e-6  # tolerance: thirds and sevenths do not add up to exactly 1

Crop = dict[str, float]
"""`x` and `y` of the upper left corner, `width` and `height`, each a share 0..1."""


def is_within_photo(crop: Crop) -> bool:
    """Whether the box lies inside the photo."""
    return crop["x"] + crop["width"] <= 1 + ROUNDING and crop["y"] + crop["height"] <= 1 + ROUNDING


def require_min_size(crop: Crop, width: int, height: int) -> None:
    """Raise `Refused` (`crop_too_small`) if the crop of a photo of this size is smaller than `SHORT_SIDE` pixels."""
    left, top, right, bottom = crop_box(crop, width, height)
    if min(right - left, bottom - top) < SHORT_SIDE:
        detail = _("The crop leaves {width} x {height} pixels of the photo; it needs {least} a side.")
        raise Refused("crop_too_small", detail.format(width=right - left, height=bottom - top, least=SHORT_SIDE))


def crop_box(crop: Crop, width: int, height: int) -> tuple[int, int, int, int]:
    """Convert to (left, top, right, bottom) in pixels of a picture of this size, as Pillow's `crop` takes them."""
    left, top = round(crop["x"] * width), round(crop["y"] * height)
    right, bottom = round((crop["x"] + crop["width"]) * width), round((crop["y"] + crop["height"]) * height)
    return left, top, min(right, width), min(bottom, height)
