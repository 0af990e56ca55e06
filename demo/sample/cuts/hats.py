"""Builders of caps, beanies, hats and scarves."""

from __future__ import annotations

import numpy as np

from demo.sample.drawing.geometry import Points, arc, box, edges, join, mirror, ribbon, smooth
from demo.sample.drawing.parts import Cut, Line, Mark, Part, Spot, both_sides


def cap(cut: Cut) -> list[Mark]:
    """Build a baseball cap from the front, a little from above."""
    high, wide, peak = cut["height"], cut["width"], cut["peak"]
    dome = smooth([(0.0, -high), (wide * 0.62, -high * 0.86), (wide * 0.97, -high * 0.4), (wide, 0.03)])
    crown = mirror(join(dome, edges([(wide, 0.03, 0.05), (0.0, 0.045)])))
    visor = mirror(
        join(
            [(0.0, -0.012)],
            edges([(wide * 0.55, 0.0), (wide * 1.02, 0.035)]),
            smooth([(wide * 1.02, 0.035), (wide * 0.98, peak * 0.7), (wide * 0.5, peak * 1.02), (0.0, peak * 1.1)]),
        )
    )
    seam = smooth([(0.0, -high), (wide * 0.36, -high * 0.6), (wide * 0.42, 0.0)])
    rows = [
        Line(
            smooth(
                [
                    (-wide * k, 0.055 + peak * (0.95 - k) * 0.2),
                    (0, peak * k * 1.02),
                    (wide * k, 0.055 + peak * (0.95 - k) * 0.2),
                ]
            ),
            shade=0.8,
        )
        for k in (0.9, 0.76, 0.6)
    ]
    badge = Part(arc((0.0, -high * 0.42), (0.062, 0.058)), cloth="print", relief=0.5, folds=0, lift=0.4)
    inner = Part(
        box(-0.03, -high * 0.42 - 0.01, 0.03, -high * 0.42 + 0.012), cloth="print two", relief=0, folds=0, lift=0
    )
    return [
        Part(crown, relief=1.8, folds=0.5),
        *both_sides(Line(seam), Spot((wide * 0.62, -high * 0.6), 0.007, "metal")),
        Line(edges([(0, -high), (0, 0)]), shade=0.75),
        *([badge, inner] if cut.option("front") == "badge" else []),
        Spot((0.0, -high), 0.013, "main"),
        Part(visor, cloth=cut.option("visor") or "main", relief=1.3, folds=0.3, lift=1.8),
        *rows,
    ]


def beanie(cut: Cut) -> list[Mark]:
    """Build a knitted cap with a turned-up brim."""
    high, wide = cut["height"], cut["width"]
    dome = smooth([(0.0, -high), (wide * 0.55, -high * 0.9), (wide * 0.93, -high * 0.45), (wide, 0.02)])
    brim = edges([(0.0, -0.055), (wide * 1.03, -0.045), (wide * 1.02, 0.085, 0.05), (0.0, 0.1)])
    ribs = [
        Line(smooth([(x * 0.2, -high * 0.97), (x * 0.85, -high * 0.5), (x, -0.04)]), width=0.008, shade=0.82)
        for x in np.linspace(-wide, wide, 15)[1:-1]
    ]
    pompom: list[Mark] = [Part(_fluffy((0.0, -high - 0.03), 0.075), cloth="trim", relief=1.6, folds=1.4)]
    return [
        *(pompom if cut.option("top") == "pompom" else []),
        Part(mirror(join(dome, [(0.0, 0.02)])), relief=1.8, folds=0.4),
        *ribs,
        Part(mirror(brim), cloth=cut.option("brim") or "main", relief=1.4, folds=0.3, lift=1.2),
    ]


def _fluffy(centre: tuple[float, float], radius: float) -> Points:
    """Build a ball with a woolly edge."""
    turns = np.linspace(0, 2 * np.pi, 72, endpoint=False)
    radii = radius * (1 + 0.07 * np.sin(turns * 17) + 0.05 * np.sin(turns * 29))
    return np.stack([centre[0] + radii * np.cos(turns), centre[1] + radii * np.sin(turns)], axis=1)


def hat(cut: Cut) -> list[Mark]:
    """Build a hat with a wide brim: fedora, sun hat or bucket."""
    high, wide, brim = cut["height"], cut["width"], cut["brim"]
    under = arc((0.0, 0.02), (brim, brim * 0.3))
    dip = 0.0 if cut.option("crown") == "round" else 0.035
    crown = smooth(
        [
            (0.0, -high + dip),
            (wide * 0.45, -high - dip * 0.2),
            (wide * 0.86, -high * 0.82),
            (wide * 0.98, -high * 0.3),
            (wide * 1.03, 0.02),
        ]
    )
    low, high_edge = arc((0.0, 0.012), (wide * 1.035, 0.062), 0, 90), arc((0.0, -0.06), (wide * 0.995, 0.055), 90, 0)
    fold = (
        [
            Line(
                smooth([(-wide * 0.35, -high * 0.9), (0.0, -high * 0.62), (wide * 0.35, -high * 0.9)]),
                width=0.012,
                shade=0.78,
            )
        ]
        if dip
        else []
    )
    rings = [Line(arc((0.0, 0.02), (brim * k, brim * 0.3 * k)), width=0.003, shade=0.84) for k in (0.95, 0.86)]
    base = arc((0.0, 0.02), (wide * 1.03, 0.06), 0, 90)
    return [
        Part(under, relief=1.4, folds=0.5),
        *rings,
        Part(mirror(join(crown, base)), relief=1.8, folds=0.4, lift=1.4),
        *fold,
        Part(mirror(join(high_edge, low)), cloth="trim", relief=0.8, folds=0.1, lift=0.6),
    ]


def scarf(cut: Cut) -> list[Mark]:
    """Build a scarf laid in a loop, both fringed ends hanging."""
    wide, long = cut["width"], cut["length"]
    left = smooth([(-0.02, -0.1), (-0.06, 0.1), (-0.075, long - 0.1)])
    right = smooth([(0.03, -0.08), (0.07, 0.1), (0.08, long)])
    loop = smooth([(-0.13, -0.1), (-0.14, -0.26), (0.0, -0.34), (0.14, -0.26), (0.12, -0.1), (0.0, -0.03)], closed=True)
    ring = join(loop, (loop * np.array([0.5, 0.5]) + np.array([0.0, -0.13]))[::-1])
    knot = smooth([(-0.1, -0.1), (0.0, -0.14), (0.1, -0.11), (0.09, 0.0), (0.0, 0.04), (-0.09, 0.01)], closed=True)
    return [
        *_tassels(left[-1], wide),
        Part(ribbon(left, wide), grain=3, lift=0.8, folds=1.3),
        *_tassels(right[-1], wide),
        Part(ribbon(right, wide), grain=-4, lift=1.0, folds=1.3),
        Part(ring, grain=90, relief=1.6, folds=1.4, lift=1.2),
        Part(knot, grain=78, relief=1.5, folds=1.3, lift=1.4),
    ]


def _tassels(end: Points, wide: float) -> list[Mark]:
    """Build the fringe below the end of the scarf."""
    places = np.linspace(-wide / 2 + 0.006, wide / 2 - 0.006, 11)
    return [
        Line(
            edges([(end[0] + x, end[1] - 0.01), (end[0] + x * 1.08, end[1] + 0.05)]),
            width=0.006,
            cloth="cord",
            shade=0.95,
        )
        for x in places
    ]
