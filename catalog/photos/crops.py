"""The part of a photo that counts: a box in shares of the photo's sides, which means the same at every size."""

from typing import Final

from django.utils.translation import gettext as _

from catalog.errors import Refused
from catalog.photos.clean import SHORT_SIDE

SIDES: Final = ("x", "y", "width", "height")
ROUNDING: Final = 1e-6  # thirds and sevenths of a side do not add up to exactly 1

Crop = dict[str, float]
"""`x` and `y` of the upper left corner, `width` and `height`, each a share 0..1."""


def lies_inside(crop: Crop) -> bool:
    """Whether the box lies in the picture."""
    return crop["x"] + crop["width"] <= 1 + ROUNDING and crop["y"] + crop["height"] <= 1 + ROUNDING


def require_large_enough(crop: Crop, width: int, height: int) -> None:
    """Refused if of a photo of these measures too little would be left to recognise anything."""
    left, top, right, bottom = crop_box(crop, width, height)
    if min(right - left, bottom - top) < SHORT_SIDE:
        detail = _("The crop leaves {width} x {height} pixels of the photo; it needs {least} a side.")
        raise Refused("crop_too_small", detail.format(width=right - left, height=bottom - top, least=SHORT_SIDE))


def crop_box(crop: Crop, width: int, height: int) -> tuple[int, int, int, int]:
    """Left, top, right and bottom in pixels of a picture of these measures, as Pillow's `crop` takes them."""
    left, top = round(crop["x"] * width), round(crop["y"] * height)
    right, bottom = round((crop["x"] + crop["width"]) * width), round((crop["y"] + crop["height"]) * height)
    return left, top, min(right, width), min(bottom, height)
