"""Motifs of prints: shapes two units wide, each with the name of its fabric."""

from __future__ import annotations

import math

import numpy as np

from demo.sample.drawing.geometry import Points, arc, box, edges, smooth

Motif = tuple[tuple[Points, str], ...]


def _star(points: int, inner: float) -> Points:
    turns = np.linspace(-math.pi / 2, 1.5 * math.pi, 2 * points, endpoint=False)
    radii = np.where(np.arange(2 * points) % 2 == 0, 1.0, inner)
    return np.stack([radii * np.cos(turns), radii * np.sin(turns)], axis=1)


def _bars(*widths: float) -> Motif:
    """Bars that look like lines of text."""
    height = 1.4 / len(widths)
    tops = [-0.7 + i * height for i in range(len(widths))]
    return tuple(
        (box(-w, y, w, y + height * 0.62), "print" if i % 2 == 0 else "print two")
        for i, (w, y) in enumerate(zip(widths, tops, strict=True))
    )


MOTIFS: dict[str, Motif] = {
    "star": ((_star(5, 0.42), "print"),),
    "sunset": (
        (arc((0, 0.2), (0.8, 0.8), 180, 360), "print"),
        *((box(-w, y, w, y + 0.1), "print two") for w, y in ((0.95, 0.3), (0.75, 0.5), (0.5, 0.7))),
    ),
    "mountain": (
        (edges([(-1, 0.6), (-0.35, -0.5), (0.0, 0.05), (0.4, -0.8), (1, 0.6)]), "print"),
        (edges([(0.4, -0.8), (0.58, -0.38), (0.42, -0.25), (0.3, -0.4), (0.18, -0.22)]), "print two"),
    ),
    "heart": (
        (
            smooth(
                [
                    (0, -0.45),
                    (0.45, -0.8),
                    (0.95, -0.4),
                    (0.6, 0.3),
                    (0, 0.9),
                    (-0.6, 0.3),
                    (-0.95, -0.4),
                    (-0.45, -0.8),
                ],
                closed=True,
            ),
            "print",
        ),
    ),
    "ring": (
        (arc((0, 0), (0.9, 0.9)), "print"),
        (arc((0, 0), (0.62, 0.62)), "main"),
        (arc((0, 0), (0.36, 0.36)), "print two"),
    ),
    "lettering": _bars(0.95, 0.7),
    "poster": _bars(0.6, 0.95, 0.8, 0.4),
    "leaf": (
        (smooth([(0, -1), (0.55, -0.4), (0.6, 0.2), (0, 0.8), (-0.6, 0.2), (-0.55, -0.4)], closed=True), "print"),
        (box(-0.04, -0.7, 0.04, 1.0), "print two"),
    ),
    "lightning": ((edges([(0.25, -1), (-0.55, 0.15), (-0.02, 0.15), (-0.3, 1), (0.6, -0.2), (0.08, -0.2)]), "print"),),
    "bar": tuple(
        (box(-1.5, y, 1.5, y + 0.3), ink) for y, ink in ((-0.6, "print"), (-0.1, "print two"), (0.4, "print"))
    ),
    "fish": (
        (smooth([(-0.9, 0), (-0.2, -0.45), (0.5, -0.1), (0.5, 0.1), (-0.2, 0.45)], closed=True), "print"),
        (edges([(0.4, 0), (1, -0.45), (0.85, 0), (1, 0.45)]), "print"),
        (arc((-0.5, -0.08), (0.08, 0.08)), "print two"),
    ),
}
