"""Dominant colour of the garment in a photo (CIE L*a*b*), and the CIEDE2000 colour difference.

Only workers import this module: web processes do not load numpy.
"""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

Lab = Sequence[float]
"""L* 0..100, a* and b* about -128..127: CIE 1976 L*a*b* with the white point D65."""

Floats = npt.NDArray[np.float32]

_SIDE = 64  # pixels: enough to separate a garment from the background
_BORDER = 3  # pixels of the 64 that are taken as background
_MARGIN = 10  # pixels of the 64 that are ignored on each side: a garment is rarely at the edge
_BACKGROUND_DISTANCE = 12.0  # pixels nearer to the background colour than this are background
_MIN_FOREGROUND = 0.05  # smallest share of the middle that counts as a garment in front of a background

_TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
# Normalised by the white point D65 of the matrix, so that equal red, green and blue are exactly grey.
_TO_XYZ = (_TO_XYZ / _TO_XYZ.sum(axis=1, keepdims=True)).astype(np.float32)
_LINEAR_BELOW = np.float32((6 / 29) ** 3)  # below this the cube root is replaced by a straight line

_LEVELS = np.arange(256) / 255
_LINEAR = np.where(_LEVELS <= 0.04045, _LEVELS / 12.92, ((_LEVELS + 0.055) / 1.055) ** 2.4).astype(np.float32)

_PIXEL_INDEX = np.arange(_SIDE * _SIDE).reshape(_SIDE, _SIDE)
_IN_MIDDLE = _PIXEL_INDEX[_MARGIN:-_MARGIN, _MARGIN:-_MARGIN].ravel()
_AT_BORDER = np.setdiff1d(_PIXEL_INDEX, _PIXEL_INDEX[_BORDER:-_BORDER, _BORDER:-_BORDER])


def garment_colour(picture: Image.Image) -> list[float]:
    """The dominant colour of a garment: the median L*a*b* of the middle of the picture without background pixels.

    The median per channel ignores prints. If the border has no single colour, or the garment has the colour of the
    border, the whole middle is used.
    """
    # reducing_gap: whole blocks of pixels are averaged first, which is faster and as good for a median.
    small = picture.convert("RGB").resize((_SIDE, _SIDE), Image.Resampling.BOX, reducing_gap=1.0)
    lab = _lab_channels(np.asarray(small).reshape(-1, 3))
    border, middle = lab[:, _AT_BORDER], lab[:, _IN_MIDDLE]
    background = np.median(border, axis=1)
    if (_distances(border, background) < _BACKGROUND_DISTANCE).mean() > 0.5:  # the border has a single colour
        garment = middle[:, _distances(middle, background) >= _BACKGROUND_DISTANCE]
        if garment.shape[1] >= _MIN_FOREGROUND * middle.shape[1]:
            middle = garment
    return [round(float(value), 2) for value in np.median(middle, axis=1)]


def rgb_to_lab(rgb: npt.ArrayLike) -> Floats:
    """Convert sRGB pixels (..., 3) of 0..255 to CIE L*a*b* (..., 3), accurate to about four decimals."""
    pixels = np.asarray(rgb, dtype=np.uint8)
    return _lab_channels(pixels.reshape(-1, 3)).T.reshape(pixels.shape)


def _lab_channels(pixels: npt.NDArray[np.uint8]) -> Floats:
    """Convert pixels (n, 3) to L*a*b* (3, n): numpy is fastest with long rows."""
    ratio = _TO_XYZ @ _LINEAR[pixels.T]
    root = np.where(ratio > _LINEAR_BELOW, np.cbrt(ratio), ratio * np.float32(841 / 108) + np.float32(4 / 29))
    lab = np.empty_like(root)
    lab[0] = 116 * root[1] - 16
    lab[1] = 500 * (root[0] - root[1])
    lab[2] = 200 * (root[1] - root[2])
    return lab


def colour_distance(one: Lab, other: Lab) -> float:
    """The CIEDE2000 difference: about 1 is just noticeable, above 50 the colours have nothing in common.

    G. Sharma, W. Wu and E. N. Dalal, "The CIEDE2000 Color-Difference Formula: Implementation Notes, Supplementary Test
    Data, and Mathematical Observations", Color Research and Application 30, 2005; all three weights are 1.
    """
    (l1, a1, b1), (l2, a2, b2) = one, other
    # Stretch a* for colours near grey, where CIELAB underestimates differences.
    spread = 1.5 - 0.5 * _saturation((math.hypot(a1, b1) + math.hypot(a2, b2)) / 2)
    c1, c2 = math.hypot(a1 * spread, b1), math.hypot(a2 * spread, b2)
    h1, h2 = _hue(a1 * spread, b1), _hue(a2 * spread, b2)
    turn = _turn(h1, h2) if c1 * c2 else 0.0
    hue = (h1 + turn / 2) % 360 if c1 * c2 else h1 + h2  # grey has no hue: use that of the other colour
    light, chroma = (l1 + l2) / 2, (c1 + c2) / 2
    in_light = (l2 - l1) / (1 + 0.015 * (light - 50) ** 2 / math.sqrt(20 + (light - 50) ** 2))
    in_chroma = (c2 - c1) / (1 + 0.045 * chroma)
    in_hue = 2 * math.sqrt(c1 * c2) * _sin(turn / 2) / (1 + 0.015 * chroma * _hue_weight(hue))
    rotation = -_sin(60 * math.exp(-(((hue - 275) / 25) ** 2))) * 2 * _saturation(chroma)
    return math.sqrt(max(0.0, in_light**2 + in_chroma**2 + in_hue**2 + rotation * in_chroma * in_hue))


def _distances(pixels: Floats, colour: Floats) -> Floats:
    """Euclidean L*a*b* distances (n) of pixels (3, n) from a colour: fast, and good enough for a foreground mask."""
    distances: Floats = np.sqrt(((pixels - colour[:, None]) ** 2).sum(axis=0))
    return distances


def _saturation(chroma: float) -> float:
    return math.sqrt(chroma**7 / (chroma**7 + 25.0**7))


def _hue(a: float, b: float) -> float:
    return math.degrees(math.atan2(b, a)) % 360


def _turn(start: float, end: float) -> float:
    """The signed angle between two hues by the shorter way, -180..180 degrees."""
    turn = end - start
    return turn - math.copysign(360, turn) if abs(turn) > 180 else turn


def _hue_weight(hue: float) -> float:
    """The weight T of a hue difference at a mean hue."""
    return 1 - 0.17 * _cos(hue - 30) + 0.24 * _cos(2 * hue) + 0.32 * _cos(3 * hue + 6) - 0.20 * _cos(4 * hue - 63)


def _sin(degrees: float) -> float:
    return math.sin(math.radians(degrees))


def _cos(degrees: float) -> float:
    return math.cos(math.radians(degrees))
