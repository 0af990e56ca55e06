"""Builders of necklines and collars: the part behind the neck and the part in front."""

from __future__ import annotations

import numpy as np

from demo.sample.drawing.geometry import Points, arc, box, edges, flip, join, mirror, smooth
from demo.sample.drawing.parts import Cut, Line, Mark, Part, Spot, both_sides

RIB = 0.02  # width of a neck band
BANDED = ("crew", "V", "scoop")


def neckline(cut: Cut, widen: float = 0.0) -> Points:
    """Return the right half of the front neckline, from its lowest point to the shoulder, moved outwards by `widen`."""
    neck, depth = cut["neck"] + widen, cut["depth"] + widen
    lift = widen * cut["slope"] / (cut["shoulder"] - cut["neck"])
    match cut.option("neckline"):
        case "V" | "lapels" | "wrap":
            return edges([(0, depth + 0.6 * widen, -0.05), (neck, lift)])
        case "square":
            return edges([(0, depth), (neck * 0.86, depth), (neck, lift)])
        case "shirt collar" | "polo collar":
            return edges([(0, depth, -0.1), (neck, lift)])
        case _:
            quarter = arc((0.0, lift), (neck, depth - lift), 90, 0)
            return np.asarray(quarter)


def behind(cut: Cut) -> list[Mark]:
    """Build the marks visible through the neckline: inside of the back, back of a collar, or hood."""
    neck = cut["neck"]
    rim = _back_rim(cut)
    inside = Part(join(rim, neckline(cut, 0.012)[::-1], flip(neckline(cut, 0.012))), shade=0.52, relief=0.2, folds=0.3)
    marks: list[Mark] = []
    if cut.option("neckline") == "hood":
        marks += _hood(neck)
    marks.append(inside)
    if cut.option("neckline") in BANDED:
        low = rim + np.array([0.0, 0.016])
        marks.append(Part(join(rim, low[::-1]), cloth=cut.option("band") or "main", shade=0.72, folds=0, lift=0.2))
    if cut.option("neckline") in ("shirt collar", "polo collar", "lapels"):
        stand = join(edges([(-neck, 0.008), (-neck * 0.9, -0.03, 0.1), (neck * 0.9, -0.03), (neck, 0.008)]))
        low = edges([(neck, 0.012, -0.1), (-neck, 0.012)])
        marks.append(Part(join(stand, low), cloth=_collar_cloth(cut), shade=0.78, folds=0.2, lift=0.2))
    if cut.option("neckline") not in ("turtleneck", "stand collar", "hood", "strap", "square"):
        marks.append(Part(box(-0.018, 0.014, 0.018, 0.03), cloth="label", relief=0, folds=0, lift=0.2))
    return marks


def _back_rim(cut: Cut) -> Points:
    """Return the back of the neckline, from left to right: above the shoulders, or low where there are straps."""
    neck = cut["neck"]
    if cut.option("neckline") in ("strap", "square"):
        return edges([(-neck - 0.004, 0.002, -0.3 * cut["depth"] / neck), (neck + 0.004, 0.002)])
    return edges([(-neck - 0.004, 0.004, 0.09), (neck + 0.004, 0.004)])


def _hood(neck: float) -> list[Mark]:
    """Build a hood lying up behind the neck: its dome, and the dark inside."""
    dome = smooth([(0.0, -0.175), (0.085, -0.155), (0.125, -0.075), (neck + 0.035, 0.02), (0.05, 0.06)])
    inside = smooth([(0.0, -0.135), (0.06, -0.12), (0.085, -0.06), (neck * 0.72, 0.03), (0.0, 0.075)])
    seam = edges([(0.0, -0.175), (0.0, -0.135)])
    return [
        Part(mirror(dome), folds=0.6),
        Line(seam),
        Part(mirror(inside), cloth="lining", shade=0.55, folds=0.5, lift=0),
    ]


def front(cut: Cut) -> list[Mark]:
    """Build the collar or band, laid over the body."""
    match cut.option("neckline"):
        case "turtleneck":
            return _tube(cut, "rib", fold=True)
        case "stand collar":
            return _tube(cut, "main", fold=False)
        case "shirt collar":
            return _leaves(cut, drop=0.062, spread=0.072)
        case "polo collar":
            return _leaves(cut, drop=0.042, spread=0.078)
        case "lapels":
            return _lapels(cut)
        case "hood":
            return _drawstrings(cut)
        case _:
            return _band(cut)


def _collar_cloth(cut: Cut) -> str:
    return cut.option("collar cloth") or "main"


def _band(cut: Cut) -> list[Mark]:
    """Build a ribbed band along the neckline, or a bound edge."""
    width = RIB if cut.option("neckline") in BANDED else 0.008
    inner, outer = neckline(cut), neckline(cut, width)
    ring = join(flip(inner)[::-1], inner, outer[::-1], flip(outer))
    return [Part(ring, cloth=cut.option("band") or "main", relief=0.6, folds=0, lift=0.5)]


def _tube(cut: Cut, cloth: str, *, fold: bool) -> list[Mark]:
    """Build a standing tube around the neck; a turtleneck is folded over once, a jacket's collar meets at the zip."""
    neck, high = cut["neck"], 0.085 if fold else 0.055
    tube = edges([(neck * 0.9, -high), (neck * 1.02, -0.01, -0.1), (neck * 1.1, 0.012, -0.14), (0, 0.034)])
    mouth = arc((0.0, -high), (neck * 0.9, 0.011))
    return [
        Part(mirror(join([(0.0, -high - 0.006)], tube)), cloth=cloth, folds=0.2, lift=0.9),
        Part(mouth, cloth=cloth, shade=0.5, relief=0, folds=0, lift=0),
        Line(
            edges([(-neck, -0.018, -0.09), (neck, -0.018)]) if fold else edges([(0, -high + 0.01), (0, 0.03)]),
            width=0.006,
            shade=0.7,
        ),
    ]


def _leaves(cut: Cut, drop: float, spread: float) -> list[Mark]:
    """Build the two leaves of a turned-down collar."""
    neck, depth = cut["neck"], cut["depth"]
    leaf = edges(
        [
            (neck * 0.9, -0.034, 0.06),
            (0.003, depth - 0.004),
            (spread * 0.82, depth + drop),
            (neck + 0.034, 0.022, 0.08),
            (neck * 0.9, -0.034),
        ]
    )
    return both_sides(Part(leaf, cloth=_collar_cloth(cut), grain=-20, folds=0.2, relief=0.8, lift=1.1))


def _lapels(cut: Cut) -> list[Mark]:
    """Build a notched collar: lapels turned back from the opening, the collar above them."""
    neck, depth, wide = cut["neck"], cut["depth"], cut.measures.get("lapel", 0.11)
    notch = 0.075 + depth * 0.06
    lapel = edges(
        [
            (0.0, depth + 0.012, -0.07),
            (neck * 0.93, -0.004),
            (neck + 0.02, notch - 0.012),
            (wide, notch - 0.008, 0.05),
            (0.0, depth + 0.012),
        ]
    )
    collar = edges(
        [
            (neck * 0.86, -0.036, 0.04),
            (neck * 0.74, 0.05),
            (wide * 0.78, notch + 0.002),
            (neck + 0.045, 0.028, 0.08),
            (neck * 0.86, -0.036),
        ]
    )
    cloth = _collar_cloth(cut)
    return both_sides(
        Part(lapel, cloth=cloth, grain=-14, folds=0.2, lift=1.2),
        Part(collar, cloth=cloth, grain=-35, folds=0.2, lift=1.0),
    )


def _drawstrings(cut: Cut) -> list[Mark]:
    """Build the crossed edge of the hood and its two cords."""
    inner, outer = neckline(cut), neckline(cut, 0.02)
    edge = Part(join(flip(inner)[::-1], inner, outer[::-1], flip(outer)), relief=0.8, folds=0.1, lift=0.8)
    top = cut["depth"] + 0.008
    cord = smooth([(0.034, top), (0.04, top + 0.05), (0.034, top + 0.12)])
    return [edge, *both_sides(Spot((0.034, top), 0.006, "metal"), Line(cord, width=0.008, cloth="cord", shade=1.0))]
