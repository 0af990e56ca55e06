"""Builders of details of tops: hems, belts, closures, pockets and printed motifs."""

from __future__ import annotations

import numpy as np

from demo.sample.cuts.motifs import MOTIFS
from demo.sample.drawing.geometry import Points, arc, box, dashes, edges, join, mirror, smooth
from demo.sample.drawing.parts import Cut, Line, Mark, Part, Spot, both_sides


def hem(cut: Cut) -> list[Mark]:
    """Build a ribbed waistband, or the stitched line above a plain edge."""
    wide, low = cut["hem"], cut["length"]
    if cut.option("hem") == "rib":
        band = edges([(0, low - 0.05), (wide * 1.0, low - 0.05), (wide * 0.93, low + 0.006, 0.03), (0, low + 0.01)])
        return [Part(mirror(band), cloth=cut.option("band") or "main", folds=0.2, lift=0.6)]
    if cut.measures.get("tail", 0.0) or cut.option("hem") == "raw":
        return []
    return [Line(edges([(-wide + 0.004, low - 0.016, -0.02), (wide - 0.004, low - 0.016)]), shade=0.78)]


def waist(cut: Cut) -> list[Mark]:
    """Build a waist seam, with gathers or a belt."""
    at, wide = cut["waist_at"], cut["waist"]
    match cut.option("waist"):
        case "belt":
            belt = edges(
                [(-wide - 0.003, at - 0.016, -0.03), (wide + 0.003, at - 0.016), (wide + 0.003, at + 0.02, 0.03)]
            )
            buckle = Part(box(-0.026, at - 0.018, 0.026, at + 0.034), cloth="metal", folds=0, lift=0.8)
            hole = Part(box(-0.016, at - 0.009, 0.016, at + 0.025), cloth="belt", folds=0, lift=0)
            return [Part(join(belt, [(-wide - 0.003, at + 0.02)]), cloth="belt", folds=0.2), buckle, hole]
        case "tied":
            belt = box(-wide - 0.003, at - 0.016, wide + 0.003, at + 0.022)
            end = edges([(0.02, at), (0.05, at), (0.075, at + 0.2), (0.035, at + 0.2)])
            knot = arc((0.028, at + 0.004), (0.026, 0.026))
            return [Part(belt, folds=0.4), Part(end, folds=0.6), Part(knot, folds=0.4)]
        case "seam":
            gathers: list[Mark] = [
                Line(edges([(x, at), (x * 1.12, at + 0.05 + 0.03 * (i % 3))]), width=0.005, shade=0.82)
                for i, x in enumerate(np.linspace(-wide * 0.9, wide * 0.9, 13))
            ]
            return [*gathers, Line(edges([(-wide, at, -0.03), (wide, at)]), width=0.005)]
        case _:
            return []


def closure(cut: Cut) -> list[Mark]:
    """Build buttons or a zip down the front."""
    top, low = cut["depth"] + 0.012, cut["length"]
    match cut.option("closure"):
        case "buttons":
            return [*_placket(top - 0.012, low), *_buttons(0.0, top, low - 0.06, cut.measures.get("buttons", 7))]
        case "half placket":
            end = top + 0.1
            return [
                Part(box(-0.02, top - 0.012, 0.02, end), folds=0, lift=0.4),
                *_buttons(0.0, top + 0.012, end - 0.014, 3),
            ]
        case "zip":
            return _zip(top - 0.008, low)
        case "half zip":
            return _zip(top - 0.008, top + 0.13)
        case "single-breasted":
            return [_front_edge(0.016, top, low), *_buttons(0.0, top + 0.01, top + 0.13, 2, radius=0.011)]
        case "double-breasted":
            rows = [_buttons(x, top + 0.015, top + 0.2, 3, radius=0.012) for x in (-0.055, 0.055)]
            return [_front_edge(0.075, top, low), *rows[0], *rows[1]]
        case _:
            return []


def _front_edge(x: float, top: float, low: float) -> Mark:
    return Line(edges([(0.0, top), (x, top + 0.03), (x, low - 0.03, 0.1), (x - 0.03, low)]), width=0.005, shade=0.55)


def _placket(top: float, low: float) -> list[Mark]:
    return [
        Line(edges([(0.019, top), (0.019, low)]), shade=0.6),
        Line(edges([(-0.019, top), (-0.019, low)]), shade=0.8),
    ]


def _buttons(x: float, top: float, low: float, count: float, radius: float = 0.0078) -> list[Mark]:
    return [Spot((x, float(y)), radius) for y in np.linspace(top, low, round(count))]


def _zip(top: float, low: float) -> list[Mark]:
    middle = edges([(0.0, top), (0.0, low)])
    teeth: list[Mark] = [Line(tooth, width=0.009, cloth="metal", shade=0.9) for tooth in dashes(middle, 0.004, 0.006)]
    puller = Part(box(-0.006, top + 0.006, 0.006, top + 0.034), cloth="metal", folds=0, lift=1.0)
    return [Line(middle, width=0.024, shade=0.8), Line(middle, width=0.011, shade=0.45), *teeth, puller]


def pockets(cut: Cut) -> list[Mark]:
    """Build pockets of a top, between the hem and the chest."""
    low, wide = cut["length"], cut["hem"]
    match cut.option("pockets"):
        case "chest":
            return _patch(0.04, cut["arm"] + 0.015, 0.085, 0.095)
        case "two chest":
            return both_sides(*_patch(0.045, cut["arm"] + 0.01, 0.085, 0.09, flap=0.03))
        case "kangaroo":
            half = edges(
                [(0, low - 0.2), (0.075, low - 0.2, -0.06), (0.125, low - 0.09), (0.125, low - 0.052), (0, low - 0.052)]
            )
            return [Part(mirror(half), folds=0.4, lift=0.6)]
        case "flap":
            at = cut["waist_at"] + 0.055
            flap = edges([(0.06, at), (wide - 0.03, at - 0.008), (wide - 0.032, at + 0.034), (0.061, at + 0.042)])
            return both_sides(Part(flap, folds=0.1, lift=0.9))
        case "patch":
            at = min(cut["waist_at"] + 0.05, low - 0.16)
            return both_sides(*_patch(0.055, at, wide - 0.09, 0.12))
        case "slanted":
            at = min(cut["waist_at"] + 0.03, low - 0.17)
            return both_sides(
                Part(edges([(0.1, at), (0.118, at + 0.002), (0.148, at + 0.11), (0.13, at + 0.114)]), folds=0, lift=0.7)
            )
        case _:
            return []


def _patch(left: float, top: float, width: float, height: float, flap: float = 0.0) -> list[Mark]:
    """Build a stitched-on pocket with a pointed bottom."""
    shape = edges(
        [
            (left, top),
            (left + width, top),
            (left + width, top + height * 0.86),
            (left + width / 2, top + height),
            (left, top + height * 0.86),
        ]
    )
    lid = flap or height * 0.16
    stitch = Line(edges([(left, top + lid), (left + width, top + lid)]), shade=0.7)
    return [
        Part(shape, folds=0.2, lift=0.6),
        stitch,
        *([Spot((left + width / 2, top + lid - 0.008), 0.006)] if flap else []),
    ]


def motif(cut: Cut) -> list[Mark]:
    """Build a print on the chest."""
    name = cut.option("motif")
    if name not in MOTIFS:
        return []
    at = np.array([0.0, max(cut["depth"], 0.07) + 0.15])
    return [Part(_sized(shape) + at, cloth=ink, relief=0, folds=0, lift=0) for shape, ink in MOTIFS[name]]


def _sized(shape: Points) -> Points:
    """Scale a motif, which is two units wide, to the size of a print on a chest."""
    return shape * 0.095


def fan(count: int, top: float, low: float, narrow: float, wide: float) -> list[Mark]:
    """Build pleats: lines that spread from the waist to the hem."""
    places = np.linspace(-1, 1, count + 2)[1:-1]
    return [Line(edges([(p * narrow, top), (p * wide, low)]), width=0.005, shade=0.72) for p in places]


def crease(path: list[tuple[float, float]]) -> Mark:
    """Build a pressed fold."""
    return Line(smooth(path), width=0.004, shade=0.8)
