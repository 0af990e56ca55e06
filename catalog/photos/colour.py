"""The colour of a garment on a photo, and how far apart two colours are to the eye.

Only workers import this: numpy has no place in a process that serves pages.
"""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

Lab = Sequence[float]
"""L* 0..100, a* and b* about -128..127: CIE 1976 with the white point D65."""

Floats = npt.NDArray[np.float32]

_SIDE = 64  # pixels: enough to tell a garment from what is behind it
_BORDER = 3  # pixels of the 64 that are taken for what is behind
_MARGIN = 10  # pixels of the 64 left out on each side: a garment is rarely at the edge of its picture
_ALIKE = 12.0  # a distance below which a pixel looks like the background
_ENOUGH = 0.05  # share of the middle that must be left for it to be a garment before a background

_TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
# By the white, D65, as the matrix has it: equal parts of red, green and blue are exactly grey.
_TO_XYZ = (_TO_XYZ / _TO_XYZ.sum(axis=1, keepdims=True)).astype(np.float32)
_BEND = np.float32((6 / 29) ** 3)  # below, a straight line takes the place of the cube root

_SHARES = np.arange(256) / 255
_LINEAR = np.where(_SHARES <= 0.04045, _SHARES / 12.92, ((_SHARES + 0.055) / 1.055) ** 2.4).astype(np.float32)

_PLACES = np.arange(_SIDE * _SIDE).reshape(_SIDE, _SIDE)
_IN_MIDDLE = _PLACES[_MARGIN:-_MARGIN, _MARGIN:-_MARGIN].ravel()
_AT_BORDER = np.setdiff1d(_PLACES, _PLACES[_BORDER:-_BORDER, _BORDER:-_BORDER])


def garment_colour(picture: Image.Image) -> list[float]:
    """The garment's colour in CIE L*a*b*: the median of the picture's middle, without what looks like its border.

    The median of each channel is the colour of most of it, whatever is printed on it. Where the border is of many
    colours, or the garment of the border's own, the whole middle counts.
    """
    # reducing_gap: whole blocks of pixels are averaged first, which is quicker and as good for a median of many.
    small = picture.convert("RGB").resize((_SIDE, _SIDE), Image.Resampling.BOX, reducing_gap=1.0)
    lab = _lab_channels(np.asarray(small).reshape(-1, 3))
    border, middle = lab[:, _AT_BORDER], lab[:, _IN_MIDDLE]
    background = np.median(border, axis=1)
    if (_apart(border, background) < _ALIKE).mean() > 0.5:  # else there is no one background
        garment = middle[:, _apart(middle, background) >= _ALIKE]
        if garment.shape[1] >= _ENOUGH * middle.shape[1]:
            middle = garment
    return [round(float(value), 2) for value in np.median(middle, axis=1)]


def lab_of(rgb: npt.ArrayLike) -> Floats:
    """CIE L*a*b* (..., 3) of sRGB pixels (..., 3) of 0..255, to about four digits after the point."""
    pixels = np.asarray(rgb, dtype=np.uint8)
    return _lab_channels(pixels.reshape(-1, 3)).T.reshape(pixels.shape)


def _lab_channels(pixels: npt.NDArray[np.uint8]) -> Floats:
    """The same (3, n) for pixels (n, 3): numpy is quickest with long rows."""
    ratio = _TO_XYZ @ _LINEAR[pixels.T]
    root = np.where(ratio > _BEND, np.cbrt(ratio), ratio * np.float32(841 / 108) + np.float32(4 / 29))
    lab = np.empty_like(root)
    lab[0] = 116 * root[1] - 16
    lab[1] = 500 * (root[0] - root[1])
    lab[2] = 200 * (root[1] - root[2])
    return lab


def colour_distance(one: Lab, other: Lab) -> float:
    """CIEDE2000: about 1 is the least that an eye tells apart, above 50 two colours have nothing in common.

    G. Sharma, W. Wu and E. N. Dalal, "The CIEDE2000 Color-Difference Formula: Implementation Notes, Supplementary Test
    Data, and Mathematical Observations", Color Research and Application 30, 2005; all three weights are 1.
    """
    (l1, a1, b1), (l2, a2, b2) = one, other
    # Grey colours are spread along a*, where CIELAB itself draws them too close together.
    spread = 1.5 - 0.5 * _saturation((math.hypot(a1, b1) + math.hypot(a2, b2)) / 2)
    c1, c2 = math.hypot(a1 * spread, b1), math.hypot(a2 * spread, b2)
    h1, h2 = _hue(a1 * spread, b1), _hue(a2 * spread, b2)
    turn = _turn(h1, h2) if c1 * c2 else 0.0
    hue = (h1 + turn / 2) % 360 if c1 * c2 else h1 + h2  # grey has no hue: the other colour's counts
    light, chroma = (l1 + l2) / 2, (c1 + c2) / 2
    in_light = (l2 - l1) / (1 + 0.015 * (light - 50) ** 2 / math.sqrt(20 + (light - 50) ** 2))
    in_chroma = (c2 - c1) / (1 + 0.045 * chroma)
    in_hue = 2 * math.sqrt(c1 * c2) * _sin(turn / 2) / (1 + 0.015 * chroma * _hue_weight(hue))
    rotation = -_sin(60 * math.exp(-(((hue - 275) / 25) ** 2))) * 2 * _saturation(chroma)
    return math.sqrt(max(0.0, in_light**2 + in_chroma**2 + in_hue**2 + rotation * in_chroma * in_hue))


def _apart(pixels: Floats, colour: Floats) -> Floats:
    """The plain distance in L*a*b* (n) of pixels (3, n): good enough to cut a garment out, and quick."""
    distances: Floats = np.sqrt(((pixels - colour[:, None]) ** 2).sum(axis=0))
    return distances


def _saturation(chroma: float) -> float:
    return math.sqrt(chroma**7 / (chroma**7 + 25.0**7))


def _hue(a: float, b: float) -> float:
    return math.degrees(math.atan2(b, a)) % 360


def _turn(start: float, end: float) -> float:
    """The shorter way round from one hue to another, -180..180 degrees."""
    turn = end - start
    return turn - math.copysign(360, turn) if abs(turn) > 180 else turn


def _hue_weight(hue: float) -> float:
    """How much a difference of hue counts there."""
    return 1 - 0.17 * _cos(hue - 30) + 0.24 * _cos(2 * hue) + 0.32 * _cos(3 * hue + 6) - 0.20 * _cos(4 * hue - 63)


def _sin(degrees: float) -> float:
    return math.sin(math.radians(degrees))


def _cos(degrees: float) -> float:
    return math.cos(math.radians(degrees))
