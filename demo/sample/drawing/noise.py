"""Random generators seeded by text, so that every machine draws the same; noise fields and blur."""

from __future__ import annotations

import hashlib
import random

import numpy as np
import numpy.typing as npt
from PIL import Image

Field = npt.NDArray[np.float32]  # one value per pixel, (h, w), or per pixel and channel, (h, w, 3)


def seeded_random(*words: object) -> random.Random:
    """Return a generator for choices, seeded by the text of `words`."""
    return random.Random(":".join(map(str, words)))  # noqa: S311 - pictures, not secrets


def seeded_generator(*words: object) -> np.random.Generator:
    """Return a generator for whole arrays, seeded by the text of `words`."""
    digest = hashlib.sha256(":".join(map(str, words)).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "big"))


def smooth_noise(generator: np.random.Generator, shape: tuple[int, int], cells: tuple[int, int]) -> Field:
    """Return value noise of about unit height: `cells` (rows, columns) random heights enlarged to `shape` (h, w)."""
    grid = generator.standard_normal((max(2, cells[0]), max(2, cells[1]))).astype(np.float32)
    return enlarge(grid, shape)


def white_noise(generator: np.random.Generator, shape: tuple[int, int]) -> Field:
    """Return independent normal values with zero mean and unit variance."""
    return generator.standard_normal(shape, dtype=np.float32)


def enlarge(field: Field, shape: tuple[int, int]) -> Field:
    """Resize a small field to `shape` (h, w) with bicubic interpolation."""
    stretched = Image.fromarray(field).resize((shape[1], shape[0]), Image.Resampling.BICUBIC)
    return np.asarray(stretched, dtype=np.float32)


def blur(field: Field, radius: int) -> Field:
    """Apply two box blurs, each `2 * radius + 1` pixels wide; outside counts as zero. Meant for small fields."""
    if radius < 1:
        return field
    for axis in (0, 1, 0, 1):
        field = _box(field, radius, axis)
    return field


def _box(field: Field, radius: int, axis: int) -> Field:
    margin = [(0, 0), (0, 0)]
    margin[axis] = (radius + 1, radius)
    sums = np.cumsum(np.pad(field, margin), axis=axis, dtype=np.float32)
    width = 2 * radius + 1
    high = np.take(sums, range(width, sums.shape[axis]), axis=axis)
    low = np.take(sums, range(sums.shape[axis] - width), axis=axis)
    return np.asarray((high - low) / np.float32(width), dtype=np.float32)
