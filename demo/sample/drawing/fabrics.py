"""Fabrics: patterns in colour and textures in brightness.

A pattern says where each figure colour lies on the ground colour; a texture multiplies the brightness. Both are
functions of the cloth's own coordinates: u across the thread, v along it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from demo.sample.drawing.noise import Field, white_noise
from demo.sample.drawing.palette import Rgb

TAU = float(2 * np.pi)


@dataclass(frozen=True)
class Fabric:
    """Cloth of a part. The ground colour comes first; `repeat` is the pattern's length in garment units."""

    colours: tuple[Rgb, ...]
    pattern: str = "plain"
    texture: str = "jersey"
    repeat: float = 0.05

    @property
    def gloss(self) -> float:
        """Strength of the highlights, 0 to 1."""
        return _GLOSS.get(self.texture, 0.0)


def paint(fabric: Fabric, u: Field, v: Field, pixel: float, generator: np.random.Generator) -> Field:
    """Return the colour, (h, w, 3) from 0 to 1, at u and v in garment units; `pixel` is the size of a pixel."""
    colour = np.empty((*u.shape, 3), np.float32)
    colour[:] = np.array(fabric.colours[0], np.float32)
    if fabric.pattern != "plain":
        repeats = np.float32(fabric.repeat)
        figures = PATTERNS[fabric.pattern](u / repeats, v / repeats, pixel / fabric.repeat)
        for figure, ink in zip(figures, fabric.colours[1:], strict=False):
            colour += figure[..., None] * (np.array(ink, np.float32) - colour)
    colour *= TEXTURES[fabric.texture](u, v, pixel, generator)[..., None]
    return colour


# --- Patterns: (u, v, pixel) in repeats -> one coverage field, 0 to 1, for each figure colour ----------------------

Pattern = Callable[[Field, Field, float], list[Field]]


def _fill(distance: Field, pixel: float) -> Field:
    """Return the coverage of the inside (positive distance) with an edge one pixel wide."""
    return np.asarray(np.clip(distance / np.float32(pixel) + np.float32(0.5), 0, 1), dtype=np.float32)


def _wrap(x: Field) -> Field:
    """Return the signed distance to the nearest integer."""
    return np.asarray(x - np.round(x), dtype=np.float32)


def _bands(x: Field, width: float, pixel: float) -> Field:
    """Return the coverage of stripes: one per repeat, of which it covers the share `width`."""
    return _fill(np.float32(width / 2) - np.abs(_wrap(x)), pixel)


def _stripes(u: Field, v: Field, pixel: float) -> list[Field]:
    return [_bands(v, 0.5, pixel)]


def _breton(u: Field, v: Field, pixel: float) -> list[Field]:
    return [_bands(v, 0.3, pixel)]


def _double_stripes(u: Field, v: Field, pixel: float) -> list[Field]:
    return [_bands(v, 0.34, pixel), _bands(v + np.float32(0.5), 0.14, pixel)]


def _vertical(u: Field, v: Field, pixel: float) -> list[Field]:
    return [_bands(u, 0.45, pixel)]


def _pinstripes(u: Field, v: Field, pixel: float) -> list[Field]:
    return [_bands(u, 0.11, pixel) * np.float32(0.8)]


def _gingham(u: Field, v: Field, pixel: float) -> list[Field]:
    both = (_bands(u, 0.5, pixel) + _bands(v, 0.5, pixel)) * np.float32(0.5)
    return [both]


def _tartan(u: Field, v: Field, pixel: float) -> list[Field]:
    broad = (_bands(u, 0.42, pixel) + _bands(v, 0.42, pixel)) * np.float32(0.45)
    shifted_u, shifted_v = u + np.float32(0.5), v + np.float32(0.5)
    fine = np.maximum(_bands(shifted_u, 0.07, pixel), _bands(shifted_v, 0.07, pixel))
    return [broad, fine * np.float32(0.85)]


def _windowpane(u: Field, v: Field, pixel: float) -> list[Field]:
    return [np.maximum(_bands(u, 0.07, pixel), _bands(v, 0.07, pixel)) * np.float32(0.85)]


def _dots(u: Field, v: Field, pixel: float) -> list[Field]:
    """Dots in two interleaved square grids."""
    first = np.hypot(_wrap(u), _wrap(v))
    second = np.hypot(_wrap(u + np.float32(0.5)), _wrap(v + np.float32(0.5)))
    return [_fill(np.float32(0.2) - np.minimum(first, second), pixel)]


def _chevron(u: Field, v: Field, pixel: float) -> list[Field]:
    return [_bands(v + np.abs(_wrap(u)), 0.4, pixel)]


def _argyle(u: Field, v: Field, pixel: float) -> list[Field]:
    diamond = _fill(np.float32(0.5) - np.abs(_wrap(u)) - np.abs(_wrap(v * np.float32(0.6))), pixel)
    slant, other = u + v * np.float32(0.6), u - v * np.float32(0.6)
    threads = np.maximum(_bands(slant, 0.04, pixel), _bands(other, 0.04, pixel))
    return [diamond, threads]


def _floral(u: Field, v: Field, pixel: float) -> list[Field]:
    """Five petals, a heart and two leaves in staggered rows, each flower turned its own way."""
    row = np.round(v)
    x, y = _wrap(u + row * np.float32(0.37)), v - row
    turn = np.sin(np.round(u + row * np.float32(0.37)) * 12.9 + row * 7.7).astype(np.float32) * 3
    radius, angle = np.hypot(x, y), np.arctan2(y, x) + turn
    petals = _fill(np.float32(0.3) + np.float32(0.1) * np.cos(5 * angle) - radius, pixel)
    heart = _fill(np.float32(0.1) - radius, pixel)
    leaves = _fill(np.float32(0.42) * np.abs(np.cos(angle)) ** 8 - np.abs(radius - np.float32(0.1)), pixel)
    return [leaves * (1 - petals), petals, heart]


def _camouflage(u: Field, v: Field, pixel: float) -> list[Field]:
    """Blots from sums of waves with incommensurable lengths."""
    first = np.sin(3.1 * u + 1.3 * v) + np.sin(1.7 * u - 2.9 * v + 1) + np.sin(4.3 * v + 2 * np.sin(2.1 * u))
    second = np.sin(2.3 * u - 1.9 * v + 2) + np.sin(3.7 * u + 0.9 * v) + np.sin(3.1 * v - 2 * np.sin(1.7 * u + 1))
    return [_fill((wave.astype(np.float32) - np.float32(0.5)) / 4, pixel) for wave in (first, second)]


def _block(u: Field, v: Field, pixel: float) -> list[Field]:
    """One broad band of the second colour and a narrow one of the third, four repeats below the top."""
    return [_fill(np.float32(2) - np.abs(v - 4), pixel), _fill(np.float32(0.4) - np.abs(v - 4), pixel)]


PATTERNS: dict[str, Pattern] = {
    "plain": lambda u, v, pixel: [],
    "striped": _stripes,
    "breton": _breton,
    "multi-striped": _double_stripes,
    "vertical-striped": _vertical,
    "pinstriped": _pinstripes,
    "gingham": _gingham,
    "tartan": _tartan,
    "windowpane": _windowpane,
    "dotted": _dots,
    "chevron": _chevron,
    "argyle": _argyle,
    "floral": _floral,
    "camouflage": _camouflage,
    "colour-block": _block,
}


# --- Textures: (u, v, pixel) in garment units -> brightness around 1 ------------------------------------------------

Texture = Callable[[Field, Field, float, np.random.Generator], Field]


def _wave(x: Field, period: float, pixel: float) -> Field:
    """Return a cosine; its period is stretched where pixels are too coarse, to avoid aliasing."""
    return np.asarray(np.cos(x * np.float32(TAU / max(period, 3 * pixel))), dtype=np.float32)


def _speckled(strength: float) -> Texture:
    def texture(u: Field, v: Field, pixel: float, generator: np.random.Generator) -> Field:
        return np.asarray(1 + np.float32(strength) * white_noise(generator, u.shape), dtype=np.float32)

    return texture


def _ribbed(period: float, strength: float) -> Texture:
    def texture(u: Field, v: Field, pixel: float, generator: np.random.Generator) -> Field:
        fine = np.float32(0.02) * white_noise(generator, u.shape)
        return 1 + fine + np.float32(strength) * _wave(u, period, pixel)

    return texture


def _knit(u: Field, v: Field, pixel: float, generator: np.random.Generator) -> Field:
    """Columns of little Vs."""
    period = max(0.014, 4 * pixel)
    slant = np.abs(_wrap(u / np.float32(period))) * np.float32(period)
    stitches = _wave(v - slant, period * 0.8, pixel) * np.float32(0.07)
    columns = _wave(u, period, pixel) * np.float32(0.05)
    yarn = np.float32(0.025) * white_noise(generator, u.shape)
    return np.asarray(1 + stitches - columns + yarn, dtype=np.float32)


def _cable(u: Field, v: Field, pixel: float, generator: np.random.Generator) -> Field:
    """Plaits between plain columns."""
    plait = np.sin(v * np.float32(TAU / 0.05)) * np.float32(0.011)
    strands = _wave(u + plait, 0.036, pixel) * np.float32(0.12)
    return strands + _knit(u, v, pixel, generator)


def _denim(u: Field, v: Field, pixel: float, generator: np.random.Generator) -> Field:
    """A steep twill, with lengthwise slubs where the dye has worn."""
    twill = _wave(u * np.float32(1.4) + v, 0.0075, pixel) * np.float32(0.045)
    slubs = np.repeat(white_noise(generator, ((u.shape[0] + 5) // 6, u.shape[1])), 6, axis=0)[: u.shape[0]]
    dye = np.float32(0.035) * slubs + np.float32(0.045) * white_noise(generator, u.shape)
    return np.asarray(1 + twill + dye, dtype=np.float32)


def _twill(u: Field, v: Field, pixel: float, generator: np.random.Generator) -> Field:
    diagonal = _wave(u + v, 0.009, pixel) * np.float32(0.02)
    return 1 + diagonal + np.float32(0.015) * white_noise(generator, u.shape)


def _quilted(u: Field, v: Field, pixel: float, generator: np.random.Generator) -> Field:
    """Down chambers: each bulges, is lit above its middle and darkens towards the seam."""
    across = _wrap(v / np.float32(0.078)) * 2
    seam = np.clip((1 - np.abs(across)) * 9, 0, 1)
    crumple = np.sin(u * 90 + 3 * np.sin(v * 60)) * np.float32(0.05) * np.abs(across) ** 2
    return np.asarray((0.7 + 0.3 * seam) * (1.06 - 0.22 * across - 0.2 * across**2) + crumple, dtype=np.float32)


TEXTURES: dict[str, Texture] = {
    "jersey": _speckled(0.018),
    "poplin": _speckled(0.01),
    "satin": _speckled(0.006),
    "leather": _speckled(0.014),
    "wool": _speckled(0.042),
    "fleece": _speckled(0.028),
    "canvas": _speckled(0.024),
    "rib": _ribbed(0.011, 0.09),
    "corduroy": _ribbed(0.015, 0.13),
    "knit": _knit,
    "cable knit": _cable,
    "denim": _denim,
    "twill": _twill,
    "quilted": _quilted,
}

_GLOSS = {"leather": 0.55, "satin": 0.35, "quilted": 0.2}
