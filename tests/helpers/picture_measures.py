"""Colour histogram and difference of pictures."""

import numpy as np
from PIL import Image


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("RGB"), dtype=np.float32) / 255


def garment_colours(image: Image.Image) -> np.ndarray:
    """Return a 512-bin colour histogram of the garment: pixels that differ from the colour of the corners."""
    colours = pixels(image)
    corners = np.concatenate([colours[:12, :12].reshape(-1, 3), colours[-12:, -12:].reshape(-1, 3)]).mean(axis=0)
    inside = colours[np.abs(colours - corners).max(axis=-1) > 0.22]
    counts, _ = np.histogramdd(inside, bins=(8, 8, 8), range=((0, 1),) * 3)
    return (counts / max(1, len(inside))).ravel()


def difference(first: Image.Image, second: Image.Image) -> float:
    """Return the mean absolute difference of two pictures of the same size, 0 to 1."""
    return float(np.abs(pixels(first) - pixels(second)).mean())
