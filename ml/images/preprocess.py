"""Preprocessing of a picture for a network: upright RGB, resized, normalised. Pillow and numpy only."""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from PIL import Image, ImageOps

from ml.formats.errors import InputError
from ml.vectors import Floats

Resize = Literal["squash", "crop", "pad"]
Filter = Literal["bilinear", "hamming", "bicubic", "lanczos"]

MAX_SIDE = 1024
"""A larger input side in a card is a mistake or an attack."""

DRAFT_MARGIN = 2
"""A JPEG is decoded at a reduced scale only down to this many times the input side (see `_reduced_decode`)."""


@dataclass(frozen=True)
class Preprocess:
    """The preprocessing in the card of an encoder; call it on a picture.

    `height`, `width`: input size in pixels. `resize`: "squash" ignores the aspect ratio, "crop" keeps it and cuts out
    the centre, "pad" keeps it and pads with the colour `mean`. `mean`, `std`: per channel (r, g, b), on the scale
    0-255. Raises `InputError` for invalid values.
    """

    height: int
    width: int
    resize: Resize
    filter: Filter
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def __post_init__(self) -> None:
        if self.resize not in get_args(Resize) or self.filter not in get_args(Filter):
            raise _invalid(f"Unknown resize mode {self.resize!r} or filter {self.filter!r}.")
        if not all(isinstance(side, int) and 1 <= side <= MAX_SIDE for side in (self.height, self.width)):
            raise _invalid(f"The input size {self.height!r} x {self.width!r} is not between 1 and {MAX_SIDE} pixels.")
        if len(self.mean) != 3 or len(self.std) != 3 or not all(np.isfinite((*self.mean, *self.std))):
            raise _invalid("Mean and standard deviation must be three finite numbers each.")
        if min(self.std) <= 0:
            raise _invalid("The standard deviation of a channel must be above zero.")

    def __call__(self, image: Image.Image) -> Floats:
        """Return the picture as float32 (3, height, width), channels r, g, b.

        A JPEG that is not decoded yet is decoded at a reduced scale, which changes `image`.
        """
        side = max(self.height, self.width)
        picture = self.fit(upright_rgb(_reduced_decode(image, side)))
        pixels = np.empty((3, self.height, self.width), dtype=np.float32)
        # Into one array, channel after channel: five times as fast as on interleaved pixels.
        np.subtract(np.asarray(picture).transpose(2, 0, 1), _column(self.mean), out=pixels)
        pixels /= _column(self.std)
        return pixels

    def fit(self, picture: Image.Image) -> Image.Image:
        """Resize an upright RGB picture to (width, height), without normalisation, as training needs it."""
        size = (self.width, self.height)
        resample = Image.Resampling[self.filter.upper()]
        if self.resize == "squash":
            # reducing_gap averages blocks of pixels first; from 3 on the result is close to fair resampling (Pillow's
            # documentation), and a 12-megapixel picture takes a quarter of the time.
            return picture.resize(size, resample, reducing_gap=3.0)
        if self.resize == "crop":
            return ImageOps.fit(picture, size, resample)
        grey = tuple(round(value) for value in self.mean)
        return ImageOps.pad(picture, size, resample, color=grey)


def _invalid(message: str) -> InputError:
    return InputError(message, code="preprocessing_invalid")


def _column(channels: tuple[float, float, float]) -> Floats:
    return np.asarray(channels, dtype=np.float32).reshape(3, 1, 1)


def upright_rgb(image: Image.Image) -> Image.Image:
    """Apply the EXIF orientation and return three 8-bit channels; transparent pixels become white."""
    upright = ImageOps.exif_transpose(image)
    if upright.mode == "RGB":
        return upright
    if upright.mode.startswith("I"):  # 16 and 32-bit grey: Pillow would clip at 255 instead of scaling
        grey = np.clip(np.asarray(upright, dtype=np.float64) / 257.0, 0, 255)
        return Image.fromarray(grey.astype(np.uint8)).convert("RGB")
    if upright.has_transparency_data:
        rgba = upright.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    return upright.convert("RGB")


def _reduced_decode(image: Image.Image, side: int) -> Image.Image:
    """Let the JPEG decoder downscale to 1/2, 1/4 or 1/8 while both sides stay at least twice `side`.

    With that margin the resize that follows still averages over pixels; the difference is negligible (tested).
    """
    image.draft("RGB", (DRAFT_MARGIN * side, DRAFT_MARGIN * side))
    return image
