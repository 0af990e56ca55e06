"""Named colours of the sample catalogue and the colours that contrast with each."""

from __future__ import annotations

import colorsys
import random

Rgb = tuple[float, float, float]  # red, green, blue, each 0 to 1


def _rgb(code: str) -> Rgb:
    red, green, blue = bytes.fromhex(code)
    return red / 255, green / 255, blue / 255


COLOURS: dict[str, Rgb] = {
    "white": _rgb("f3f2ee"),
    "ecru": _rgb("e6dcc6"),
    "beige": _rgb("cdb696"),
    "camel": _rgb("b98a54"),
    "brown": _rgb("6b4630"),
    "black": _rgb("232326"),
    "charcoal": _rgb("4a4d52"),
    "grey": _rgb("9b9ea2"),
    "navy": _rgb("24304f"),
    "blue": _rgb("2f5fa8"),
    "light blue": _rgb("93b8da"),
    "teal": _rgb("1f7478"),
    "green": _rgb("2f7a4b"),
    "olive": _rgb("6c6b3e"),
    "mint": _rgb("a5d3bd"),
    "yellow": _rgb("f0cf4d"),
    "mustard": _rgb("c8962f"),
    "orange": _rgb("df7433"),
    "red": _rgb("bf2f34"),
    "burgundy": _rgb("6f2235"),
    "pink": _rgb("e3a0b0"),
    "lilac": _rgb("b3a0cf"),
    "purple": _rgb("63417f"),
}

ALL = tuple(COLOURS)
BRIGHT = ("white", "light blue", "blue", "teal", "green", "mint", "yellow", "orange", "red", "pink", "lilac", "purple")
EARTHY = (
    "black",
    "charcoal",
    "grey",
    "navy",
    "beige",
    "camel",
    "brown",
    "olive",
    "burgundy",
    "ecru",
    "teal",
    "mustard",
)
DENIM = ("light blue", "blue", "navy", "black", "grey", "ecru")
LEATHER = ("black", "brown", "camel", "burgundy", "ecru", "olive", "navy", "red")

_PARTNERS: dict[str, tuple[str, ...]] = {
    "white": ("navy", "red", "black", "green", "blue", "orange"),
    "ecru": ("navy", "brown", "burgundy", "teal", "black"),
    "beige": ("white", "brown", "navy", "burgundy"),
    "camel": ("ecru", "black", "navy"),
    "brown": ("ecru", "mustard", "light blue"),
    "black": ("white", "grey", "red", "mustard"),
    "charcoal": ("white", "yellow", "light blue", "pink"),
    "grey": ("white", "navy", "burgundy", "black"),
    "navy": ("white", "red", "yellow", "ecru", "light blue"),
    "blue": ("white", "yellow", "navy", "orange"),
    "light blue": ("white", "navy", "pink", "brown"),
    "teal": ("ecru", "mustard", "pink"),
    "green": ("white", "ecru", "navy", "yellow"),
    "olive": ("ecru", "black", "orange"),
    "mint": ("white", "green", "navy", "purple"),
    "yellow": ("white", "navy", "charcoal", "green"),
    "mustard": ("ecru", "navy", "burgundy"),
    "orange": ("white", "navy", "ecru", "teal"),
    "red": ("white", "navy", "ecru", "black"),
    "burgundy": ("pink", "ecru", "navy", "mustard"),
    "pink": ("white", "red", "navy", "green"),
    "lilac": ("white", "purple", "yellow"),
    "purple": ("lilac", "white", "mustard"),
}


def shade(colour: Rgb, factor: float) -> Rgb:
    """Darken by a factor below 1; above 1, mix with white."""
    if factor <= 1:
        return colour[0] * factor, colour[1] * factor, colour[2] * factor
    return mix(colour, (1.0, 1.0, 1.0), min(1.0, factor - 1))


def mix(first: Rgb, second: Rgb, share: float) -> Rgb:
    """Mix `share` of the second colour into the first."""
    red, green, blue = (a + (b - a) * share for a, b in zip(first, second, strict=True))
    return red, green, blue


def luminance(colour: Rgb) -> float:
    """Return the luma of a colour (Rec. 601 weights), 0 to 1."""
    return 0.3 * colour[0] + 0.59 * colour[1] + 0.11 * colour[2]


def dye_lot(name: str, rng: random.Random) -> Rgb:
    """Return a named colour with a little random variation of hue, saturation and value."""
    hue, saturation, value = colorsys.rgb_to_hsv(*COLOURS[name])
    hue = (hue + rng.uniform(-0.012, 0.012)) % 1
    saturation = min(1.0, saturation * rng.uniform(0.86, 1.12))
    return colorsys.hsv_to_rgb(hue, saturation, min(0.97, value * rng.uniform(0.93, 1.1)))


def contrasting_colour(name: str, rng: random.Random) -> str:
    """Return the name of a random colour that goes with the named one and contrasts with it."""
    return rng.choice(_PARTNERS[name])
