"""Geometry of outlines: polylines, curves, ribbons and affine maps, in garment units.

A frame is 0.75 wide and 1 high, x runs right and y runs down. Outlines are float arrays of shape (n, 2).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

Points = npt.NDArray[np.float64]
XY = tuple[float, float]

STEPS = 10  # straight pieces per curved edge: invisible at twice the size we draw


def edges(vertices: Iterable[Sequence[float]]) -> Points:
    """Return the open path through (x, y) or (x, y, bulge) vertices.

    A vertex's bulge bends the edge that leaves it: the bow's height as a share of the edge's length, positive to the
    left hand of the direction of travel (on a screen, where y runs down).
    """
    corners = list(vertices)
    path = [np.array([corners[0][:2]], dtype=np.float64)]
    for start, end in pairwise(corners):
        path.append(_edge(start, end))
    return np.concatenate(path)


def _edge(start: Sequence[float], end: Sequence[float]) -> Points:
    """Return the points after `start` up to `end`: one, or those of a parabola if the edge bulges."""
    a, b = np.array(start[:2], dtype=np.float64), np.array(end[:2], dtype=np.float64)
    bulge = start[2] if len(start) > 2 else 0.0
    if not bulge:
        return b[None]
    t = np.linspace(0, 1, STEPS + 1)[1:, None]
    left = np.array([(b - a)[1], -(b - a)[0]])
    return np.asarray(a + (b - a) * t + left * bulge * 4 * t * (1 - t))


def smooth(points: Iterable[Sequence[float]], *, closed: bool = False) -> Points:
    """Return the Catmull-Rom curve through the points."""
    knots = np.array([point[:2] for point in points], dtype=np.float64)
    before = np.concatenate([knots[-1:] if closed else knots[:1], knots])
    padded = np.concatenate([before, knots[:2] if closed else knots[-1:]])
    t = np.linspace(0, 1, STEPS, endpoint=False)[:, None]
    pieces = [_span(padded[i : i + 4], t) for i in range(len(padded) - 3)]
    return np.concatenate([*pieces, knots[:1] if closed else knots[-1:]])


def _span(knots: Points, t: Points) -> Points:
    p0, p1, p2, p3 = knots
    return np.asarray(
        0.5 * (2 * p1 + (p2 - p0) * t + (2 * p0 - 5 * p1 + 4 * p2 - p3) * t**2 + (3 * p1 - p0 - 3 * p2 + p3) * t**3)
    )


def join(*paths: Points | Sequence[Sequence[float]]) -> Points:
    """Concatenate paths."""
    return np.concatenate([np.asarray(path, dtype=np.float64) for path in paths])


def flip(points: Points) -> Points:
    """Return the other side of a symmetrical garment, in the same direction."""
    return np.asarray(points * np.array([-1.0, 1.0]))


def mirror(half: Points) -> Points:
    """Return a closed outline from its right half, from the top to the bottom."""
    return np.concatenate([half, flip(half)[::-1]])


def arc(centre: XY, radii: XY, start: float = 0.0, end: float = 360.0) -> Points:
    """Return part of an ellipse in degrees; 0 is right and 90 is down."""
    angles = np.radians(np.linspace(start, end, max(9, int(abs(end - start) / 8))))
    return np.stack([centre[0] + radii[0] * np.cos(angles), centre[1] + radii[1] * np.sin(angles)], axis=1)


def box(left: float, top: float, right: float, bottom: float) -> Points:
    """Return a rectangle."""
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]], dtype=np.float64)


def ribbon(axis: Points, width: float) -> Points:
    """Return the closed outline of a band of constant width along a path."""
    along = np.gradient(axis, axis=0)
    normal = np.stack([along[:, 1], -along[:, 0]], axis=1) / np.linalg.norm(along, axis=1, keepdims=True)
    return np.concatenate([axis + normal * width / 2, (axis - normal * width / 2)[::-1]])


def dashes(path: Points, dash: float, gap: float) -> list[Points]:
    """Return the path cut into short strokes."""
    steps = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(path, axis=0), axis=1))])
    starts = np.arange(0, steps[-1], dash + gap)
    return [_cut(path, steps, (float(start), float(start) + dash)) for start in starts]


def _cut(path: Points, steps: Points, interval: tuple[float, float]) -> Points:
    at = np.linspace(*interval, 3)
    return np.stack([np.interp(at, steps, path[:, 0]), np.interp(at, steps, path[:, 1])], axis=1)


def towards(start: XY, angle: float, length: float) -> XY:
    """Return the point at a distance; degrees, 0 is straight down and 90 is to the right."""
    return start[0] + length * math.sin(math.radians(angle)), start[1] + length * math.cos(math.radians(angle))


@dataclass(frozen=True)
class Affine:
    """An affine map of points (n, 2): `x -> matrix @ x + offset`."""

    matrix: Points  # (2, 2)
    offset: Points  # (2,)

    @classmethod
    def placing(cls, centre: XY, *, angle: float, scale: float, shear: float, to: XY) -> Affine:
        """Rotate (degrees), shear and scale about `centre`, then move `centre` to `to`."""
        c, s = math.cos(math.radians(angle)), math.sin(math.radians(angle))
        matrix = scale * np.array([[c, -s], [s, c]]) @ np.array([[1.0, shear], [0.0, 1.0]])
        return cls(matrix, np.array(to) - matrix @ np.array(centre))

    @property
    def scale(self) -> float:
        """Factor of lengths: the square root of the factor of areas."""
        return math.sqrt(abs(float(np.linalg.det(self.matrix))))

    def __call__(self, points: Points) -> Points:
        return np.asarray(points @ self.matrix.T + self.offset)

    def inverse(self) -> Affine:
        """Return the inverse map."""
        back = np.asarray(np.linalg.inv(self.matrix), dtype=np.float64)
        return Affine(back, -back @ self.offset)
