"""From a picture to what a network reads: upright RGB, resized, normalised. Pillow and numpy only."""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from PIL import Image, ImageOps

from ml.formats.errors import InputError
from ml.vectors import Floats

Resize = Literal["squash", "crop", "pad"]
Filter = Literal["bilinear", "hamming", "bicubic", "lanczos"]

MAX_SIDE = 1024
"""An input side above this is a mistake or an attack in a card, never a setting that somebody measured."""

DRAFT_MARGIN = 2
"""A JPEG is decoded at a reduced scale only down to this many times the input side (see `_reduced_decode`)."""


@dataclass(frozen=True)
class Preprocess:
    """What the card of an encoder says about its input; called on a picture it does it.

    `height`, `width`: input size in pixels. `resize`: "squash" ignores the proportions, "crop" keeps them and cuts what
    stands over the middle, "pad" keeps them and fills up with `mean`'s grey. `mean`, `std`: per channel (r, g, b), on
    the scale 0-255. Raises `InputError` when made with values that no network could want.
    """

    height: int
    width: int
    resize: Resize
    filter: Filter
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def __post_init__(self) -> None:
        if self.resize not in get_args(Resize) or self.filter not in get_args(Filter):
            raise InputError(f"Unknown resize mode {self.resize!r} or filter {self.filter!r}.")
        if not all(isinstance(side, int) and 1 <= side <= MAX_SIDE for side in (self.height, self.width)):
            raise InputError(f"The input size {self.height!r} x {self.width!r} is not between 1 and {MAX_SIDE} pixels.")
        if len(self.mean) != 3 or len(self.std) != 3 or not all(np.isfinite((*self.mean, *self.std))):
            raise InputError("Mean and standard deviation must be three finite numbers each.")
        if min(self.std) <= 0:
            raise InputError("The standard deviation of a channel must be above zero.")

    def __call__(self, image: Image.Image) -> Floats:
        """Return the picture as float32 (3, height, width), channels r, g, b.

        A JPEG that Pillow has not decoded yet is decoded at a reduced scale, which changes `image` itself.
        """
        side = max(self.height, self.width)
        picture = self.fit(upright_rgb(_reduced_decode(image, side)))
        pixels = np.empty((3, self.height, self.width), dtype=np.float32)
        # Straight into its place, channel after channel: five times as fast as on pixels of three numbers each.
        np.subtract(np.asarray(picture).transpose(2, 0, 1), _column(self.mean), out=pixels)
        pixels /= _column(self.std)
        return pixels

    def fit(self, picture: Image.Image) -> Image.Image:
        """Bring an upright RGB picture to (width, height), still as a picture; training starts from this."""
        size = (self.width, self.height)
        resample = Image.Resampling[self.filter.upper()]
        if self.resize == "squash":
            # reducing_gap first averages whole blocks of pixels; at 3 and more Pillow's documentation calls the result
            # indistinguishable, and a 12-megapixel picture takes a quarter of the time.
            return picture.resize(size, resample, reducing_gap=3.0)
        if self.resize == "crop":
            return ImageOps.fit(picture, size, resample)
        grey = tuple(round(value) for value in self.mean)
        return ImageOps.pad(picture, size, resample, color=grey)


def _column(channels: tuple[float, float, float]) -> Floats:
    return np.asarray(channels, dtype=np.float32).reshape(3, 1, 1)


def upright_rgb(image: Image.Image) -> Image.Image:
    """Apply the camera's orientation mark and return three 8-bit channels; what is transparent becomes white."""
    turned = ImageOps.exif_transpose(image)
    if turned.mode == "RGB":
        return turned
    if turned.mode.startswith("I"):  # 16 and 32-bit grey: Pillow would clip at 255 instead of scaling down
        grey = np.clip(np.asarray(turned, dtype=np.float64) / 257.0, 0, 255)
        return Image.fromarray(grey.astype(np.uint8)).convert("RGB")
    if turned.has_transparency_data:
        coat = turned.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", coat.size, "white"), coat).convert("RGB")
    return turned.convert("RGB")


def _reduced_decode(image: Image.Image, side: int) -> Image.Image:
    """Ask the JPEG decoder for 1/2, 1/4 or 1/8 of the size while both sides stay at twice `side` or more.

    With that margin the resize that follows still averages over pixels, so next to nothing is lost (tested).
    """
    image.draft("RGB", (DRAFT_MARGIN * side, DRAFT_MARGIN * side))
    return image
