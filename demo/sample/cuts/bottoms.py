"""Builders of trousers and skirts."""

from __future__ import annotations

import numpy as np

from demo.sample.cuts.details import crease, fan
from demo.sample.drawing.geometry import Points, box, dashes, edges, join, mirror, smooth
from demo.sample.drawing.parts import Cut, Glow, Line, Mark, Part, Spot, both_sides

BAND = 0.042  # height of a waistband


def trousers(cut: Cut) -> list[Mark]:
    """Build trousers of any length: jeans, chinos, shorts, joggers."""
    inside = Part(
        mirror(edges([(0, -0.012), (cut["waist"] - 0.004, -0.008), (cut["waist"], 0.02), (0, 0.03)])), shade=0.5
    )
    return [
        inside,
        Part(_legs(cut), lift=0.6),
        *_wear(cut),
        *_front(cut),
        *_waistband(cut),
        *_leg_ends(cut),
    ]


def _legs(cut: Cut) -> Points:
    """Build both legs in one outline."""
    rise, low, hip = cut["rise"], cut["length"], cut["hip"]
    (inner_hem, outer_hem), (inner_knee, outer_knee) = leg_at(cut, low), leg_at(cut, (rise + low) / 2)
    outer = smooth([(cut["waist"], 0.0), (hip, rise * 0.72), (outer_knee, (rise + low) / 2), (outer_hem, low)])
    inner = smooth([(inner_hem, low), (inner_knee, (rise + low) / 2), (max(0.008, inner_knee * 0.25), rise + 0.012)])
    return mirror(join([(0.0, 0.0)], outer, edges([outer[-1], inner[0]]), inner, [(0.0, rise)]))


def leg_at(cut: Cut, height: float) -> tuple[float, float]:
    """Return the inner and outer x of the right leg at a height below the crotch."""
    down = (height - cut["rise"]) / (cut["length"] - cut["rise"])
    narrow = cut.measures.get("knee", 0.0) * (1 - abs(2 * down - 1))
    half = cut["hip"] * 0.5 * (1 - down) + cut["leg"] * down - narrow
    middle = cut["hip"] * 0.5 + np.sin(np.radians(cut.stance.spread + cut["splay"])) * (height - cut["rise"])
    return float(middle - half), float(middle + half)


def _front(cut: Cut) -> list[Mark]:
    """Build the fly and the front pockets."""
    rise, waist, hip = cut["rise"], cut["waist"], cut["hip"]
    fly = edges([(0.0, BAND), (0.0, rise)])
    stitch = edges([(0.028, BAND), (0.028, rise * 0.6, 0.2), (0.0, rise * 0.82)])
    match cut.option("pockets"):
        case "jeans":
            mouth = edges([(waist * 0.48, BAND, -0.25), (hip * 0.95, rise * 0.48)])
            rivets: list[Mark] = [
                Spot((waist * 0.5, BAND + 0.01), 0.005, "metal"),
                Spot((hip * 0.9, rise * 0.47), 0.005, "metal"),
            ]
            return [
                Line(fly),
                *_sewn(stitch),
                *both_sides(Line(mouth, width=0.006), *_sewn(mouth + np.array([0.0, 0.008])), *rivets),
            ]
        case "slanted":
            mouth = edges([(waist * 0.66, BAND), (hip * 0.93, rise * 0.66)])
            return [Line(fly), Line(stitch, shade=0.78), *both_sides(Line(mouth, width=0.006, shade=0.55))]
        case "cargo":
            at = (rise + cut["length"]) / 2 - 0.03 if cut["length"] > 0.5 else rise + 0.02
            inner, outer = leg_at(cut, at)
            left, right = inner + (outer - inner) * 0.42, outer - 0.004
            bag = Part(box(left, at, right, at + 0.12), folds=0.5, lift=1.0)
            flap = Part(box(left - 0.004, at - 0.008, right + 0.004, at + 0.034), folds=0.1, lift=1.0)
            mouth = edges([(waist * 0.66, BAND), (hip * 0.93, rise * 0.6)])
            return [
                Line(fly),
                *both_sides(Line(mouth, width=0.006), bag, flap, Spot(((left + right) / 2, at + 0.02), 0.006)),
            ]
        case _:
            return [Line(edges([(0.0, BAND), (0.0, rise)]), shade=0.75)]


def _sewn(path: Points) -> list[Mark]:
    return [Line(stitch, width=0.004, cloth="stitch", shade=1.0) for stitch in dashes(path, 0.008, 0.004)]


def _waistband(cut: Cut) -> list[Mark]:
    """Build a band with button and loops, or a gathered one with a cord."""
    waist, ribbed = cut["waist"], cut.option("waistband") == "elastic"
    slope = (cut["hip"] - waist) * 0.16
    band = edges([(0.0, -0.002), (waist, -0.004), (waist + slope, BAND), (0.0, BAND + 0.004)])
    marks: list[Mark] = [Part(mirror(band), cloth=cut.option("band") or "main", folds=0.2, lift=0.5)]
    if ribbed:
        gathers = [
            Line(edges([(x, 0.002), (x * 1.03, BAND)]), width=0.004, shade=0.72) for x in np.linspace(-waist, waist, 23)
        ]
        cords = both_sides(
            Line(smooth([(0.012, BAND / 2), (0.03, 0.09), (0.024, 0.15)]), width=0.0085, cloth="cord", shade=1.0)
        )
        return [*marks, *gathers, *cords]
    loops = [
        Part(box(x - 0.007, -0.006, x + 0.007, BAND + 0.008), folds=0, lift=0.8) for x in (waist * 0.45, waist * 0.88)
    ]
    return [
        *marks,
        *both_sides(*loops),
        Spot((0.006, BAND / 2), 0.01, "metal" if cut.option("pockets") == "jeans" else "button"),
    ]


def _wear(cut: Cut) -> list[Mark]:
    """Build the faded areas of denim and the creases of pressed trousers."""
    rise, low = cut["rise"], cut["length"]
    inner, outer = leg_at(cut, rise + (low - rise) * 0.25)
    middle, wide = (inner + outer) / 2, (outer - inner) / 2
    if cut.option("finish") == "faded":
        return both_sides(Glow((middle, rise + (low - rise) * 0.22), (wide * 0.8, (low - rise) * 0.42), 0.34))
    if cut.option("finish") == "pressed":
        foot = sum(leg_at(cut, low)) / 2
        return both_sides(crease([(middle * 0.95, rise * 0.5), (middle, rise + 0.05), (foot, low)]))
    return []


def _leg_ends(cut: Cut) -> list[Mark]:
    """Build turn-ups, ribbed cuffs or a stitched hem."""
    low = cut["length"]
    (inner, outer), (inner_up, outer_up) = leg_at(cut, low), leg_at(cut, low - 0.04)
    cuff = edges(
        [
            (inner_up - 0.003, low - 0.04),
            (outer_up + 0.003, low - 0.04),
            (outer + 0.003, low + 0.003),
            (inner - 0.003, low + 0.003),
        ]
    )
    match cut.option("hem"):
        case "turn-up":
            return both_sides(Part(cuff, cloth="wrong side", folds=0.2, lift=1.0))
        case "cuffed":
            return both_sides(Part(cuff, cloth="rib", folds=0.2, lift=0.8))
        case _:
            return both_sides(Line(edges([(inner + 0.003, low - 0.016), (outer - 0.003, low - 0.016)]), shade=0.75))


def skirt(cut: Cut) -> list[Mark]:
    """Build a skirt: pencil, A-line, pleated, tiered or buttoned."""
    waist, hem, low = cut["waist"], cut["hem"], cut["length"]
    side = smooth([(waist, 0.0), (cut["hip"], min(0.16, low * 0.4)), ((cut["hip"] + hem) / 2, low * 0.62), (hem, low)])
    sag = 0.05 * (hem - waist) / 0.2
    bottom = edges([(hem, low, 0.03 + sag * 0.6), (0.0, low + sag)])
    band = mirror(edges([(0.0, -0.004), (waist - 0.003, -0.004), (waist + 0.003, BAND), (0.0, BAND + 0.008)]))
    inside = mirror(edges([(0, -0.014), (waist - 0.006, -0.008), (waist, 0.01), (0, 0.01)]))
    return [
        Part(inside, shade=0.5),
        Part(mirror(join([(0.0, 0.0)], side, bottom)), lift=0.6),
        *_skirt_style(cut, low + sag * 0.7),
        Part(band, cloth=cut.option("band") or "main", folds=0.2, lift=0.5),
    ]


def _skirt_style(cut: Cut, low: float) -> list[Mark]:
    waist, hem = cut["waist"], cut["hem"]
    match cut.option("style"):
        case "pleated":
            return [
                Line(line.path, width=0.009, shade=0.7)
                for line in fan(13, BAND, low - 0.002, waist, hem)
                if isinstance(line, Line)
            ]
        case "buttoned":
            edge = Line(edges([(0.022, BAND), (0.022, low)]), shade=0.6)
            return [edge, *(Spot((0.0, float(y)), 0.01) for y in np.linspace(BAND + 0.03, low - 0.04, 6))]
        case "tiered":
            return [mark for share in (0.36, 0.68) for mark in _tier(cut, share)]
        case "slit":
            slit = edges([(hem * 0.45, low * 0.55), (hem * 0.52, low + 0.01), (hem * 0.4, low + 0.01)])
            return [Part(slit, shade=0.35, relief=0, folds=0, lift=0)]
        case _:
            return both_sides(Line(edges([(waist * 0.55, BAND), (waist * 0.6, BAND + 0.09)]), shade=0.75))


def _tier(cut: Cut, share: float) -> list[Mark]:
    """Build a gathered seam across the skirt."""
    at = cut["length"] * share
    wide = cut["waist"] + (cut["hem"] - cut["waist"]) * share
    gathers = [
        Line(edges([(x, at), (x * 1.05, at + 0.06)]), width=0.005, shade=0.78)
        for x in np.linspace(-wide, wide, 19)[1:-1]
    ]
    return [Line(edges([(-wide, at, -0.04), (wide, at)]), width=0.007, shade=0.55), *gathers]
