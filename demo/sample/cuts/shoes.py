"""Builders of shoes, seen from the side. They point to the left and stand on y = 0."""

from __future__ import annotations

import numpy as np

from demo.sample.drawing.geometry import arc, box, edges, join, ribbon, smooth
from demo.sample.drawing.parts import Cut, Glow, Line, Mark, Part, Spot


def sneaker(cut: Cut) -> list[Mark]:
    """Build a laced sports shoe from the side; a high one covers the ankle."""
    top, sole = -cut["shaft"], cut["sole"]
    upper = join(
        smooth([(0.27, -sole), (0.283, -0.13), (0.262, -0.2), (0.272, top)]),
        smooth([(0.272, top), (0.2, top + 0.028), (0.125, top + 0.014), (0.095, top - 0.012)]),
        smooth([(0.095, top - 0.012), *_instep(top)[::-1], (-0.17, -0.145), (-0.245, -0.115), (-0.288, -sole)]),
    )
    tongue = smooth(
        [(0.12, top + 0.03), (0.1, top - 0.03), (0.072, top - 0.036), *_instep(top)[:-4:-1], (0.06, top * 0.5)],
        closed=True,
    )
    far_side = smooth(
        [(0.272, top), (0.2, top + 0.004), (0.12, top), (0.125, top + 0.03), (0.21, top + 0.03)], closed=True
    )
    toe = join(
        smooth([(-0.289, -sole), (-0.243, -0.117), (-0.165, -0.147)]),
        smooth([(-0.165, -0.147), (-0.135, -0.1), (-0.125, -sole)]),
    )
    heel = join(
        smooth([(0.272, -sole), (0.284, -0.13), (0.262, -0.2)]), smooth([(0.262, -0.2), (0.21, -0.15), (0.195, -sole)])
    )
    bottom = smooth(
        [
            (-0.298, -sole - 0.014),
            (-0.306, -0.024),
            (-0.27, 0.0),
            (0.0, 0.0),
            (0.26, 0.0),
            (0.292, -0.024),
            (0.283, -sole - 0.026),
            (0.1, -sole - 0.006),
            (-0.15, -sole),
        ],
        closed=True,
    )
    return [
        Part(far_side, cloth="lining", shade=0.55, folds=0),
        Part(tongue, cloth="lining", shade=0.95, folds=0.2),
        Part(upper, relief=1.5, folds=0.5),
        Part(toe, cloth=cut.option("toe") or "main", folds=0.1, relief=0.9, lift=0.4),
        Part(heel, cloth="trim", folds=0.1, relief=0.9, lift=0.4),
        *_side_mark(cut),
        *_laces(top),
        Part(bottom, cloth="sole", relief=1.1, folds=0.1, lift=0.5),
        Line(smooth([(-0.3, -0.024), (0.0, -0.02), (0.29, -0.026)]), cloth="trim", width=0.006, shade=1.0),
    ]


def _instep(top: float) -> list[tuple[float, float]]:
    """Build the line on which the laces lie, from the toes up."""
    return [(-0.1 + 0.18 * t, -0.165 + (top + 0.17) * t**1.3) for t in (0.0, 0.25, 0.5, 0.75, 0.95)]


def _side_mark(cut: Cut) -> list[Mark]:
    """Build the decoration on the side of a sports shoe."""
    match cut.option("side"):
        case "chevrons":
            points = [smooth([(x + 0.04, -0.075), (x, -0.115), (x + 0.05, -0.155)]) for x in (0.03, 0.085, 0.14)]
            return [Part(ribbon(point, 0.022), cloth="trim", folds=0, lift=0.3) for point in points]
        case "wave":
            axis = smooth([(-0.1, -0.07), (0.0, -0.098), (0.1, -0.108), (0.19, -0.16)])
            return [Part(ribbon(axis, 0.026), cloth="trim", folds=0, lift=0.3)]
        case "disc":
            rim, middle = arc((0.15, -0.17), (0.042, 0.042)), arc((0.15, -0.17), (0.02, 0.02))
            return [Part(rim, cloth="sole", folds=0, lift=0.3), Part(middle, cloth="trim", folds=0, lift=0)]
        case _:
            return [Line(smooth([(0.2, -0.07), (0.1, -0.12), (-0.1, -0.08)]), shade=0.75)]


def _laces(top: float) -> list[Mark]:
    """Build eyelets along the instep and the laces that cross it."""
    laces: list[Mark] = []
    for x, y in _instep(top):
        laces.append(
            Line(edges([(x - 0.016, y - 0.01, 0.12), (x + 0.034, y + 0.026)]), width=0.016, cloth="lace", shade=1.0)
        )
        laces.append(Spot((x + 0.037, y + 0.029), 0.0065, "metal"))
    return laces


def boot(cut: Cut) -> list[Mark]:
    """Build a boot from the side: laced, with elastic sides, or tall."""
    top, heel, flare = -cut["shaft"], cut["heel"], cut["flare"]
    back, front = (0.212 + flare, top), (0.03 - flare, top - 0.004)
    upper = join(
        smooth([(0.205, -heel * 0.8), (0.222, -0.15), (0.198, -0.24), back]),
        edges([(*back, -0.06), front]),
        smooth(
            [front, (0.026, -0.27), (-0.015, -0.2), (-0.1, -0.165), (-0.19, -0.135), (-0.232, -0.08), (-0.232, -0.03)]
        ),
    )
    bottom = join(
        smooth([(-0.238, -0.05), (-0.248, -0.016), (-0.22, 0.0), (-0.08, 0.0), (0.02, -heel * 0.3)]),
        edges(
            [
                (0.075, -heel * 0.45),
                (0.085, 0.0),
                (0.214, 0.0),
                (0.216, -heel - 0.01),
                (0.05, -heel * 0.9),
                (-0.06, -0.036),
                (-0.238, -0.05),
            ]
        ),
    )
    mouth = edges([(*back, -0.06), (*front, -0.06), back])
    return [
        Part(upper, relief=1.6, folds=0.7),
        Glow((-0.16, -0.12), (0.05, 0.03), 0.16),
        Glow((0.09, top * 0.6), (0.02, -top * 0.28), 0.1),
        Part(mouth, cloth="lining", shade=0.5, folds=0, lift=0),
        *_boot_style(cut, top),
        Part(bottom, cloth="sole", relief=0.9, folds=0.1, lift=0.4),
    ]


def _boot_style(cut: Cut, top: float) -> list[Mark]:
    match cut.option("style"):
        case "laced":
            rows = np.linspace(-0.205, top + 0.025, max(3, round((-top - 0.2) / 0.04)))
            laces: list[Mark] = [
                Line(edges([(0.018, y + 0.004), (0.072, y - 0.006)]), width=0.011, cloth="lace", shade=1.0)
                for y in rows
            ]
            eyes: list[Mark] = [Spot((0.075, float(y) - 0.006), 0.006, "metal") for y in rows]
            return [Line(smooth([(0.085, top), (0.09, -0.2), (0.03, -0.12), (0.05, -0.06)])), *laces, *eyes]
        case "elastic":
            gore = edges(
                [(0.075, top + 0.004), (0.165, top + 0.004), (0.15, -0.16, 0.1), (0.125, -0.125, 0.1), (0.095, -0.16)]
            )
            loop = Part(box(0.19, top - 0.03, 0.206, top + 0.03), cloth="trim", folds=0)
            return [Part(gore, cloth="rib", folds=0, lift=0), loop]
        case "buckled":
            strap = Part(ribbon(edges([(0.222, -0.2), (0.03, -0.21)]), 0.03), folds=0.1, lift=0.9)
            return [
                strap,
                Part(box(0.08, -0.228, 0.115, -0.185), cloth="metal", folds=0),
                Line(smooth([(0.1, top), (0.12, -0.25)]), shade=0.7),
            ]
        case _:
            return [
                Line(smooth([(0.15, top), (0.145, -0.2), (0.17, -0.06)]), width=0.006),
                Line(smooth([(-0.1, -0.05), (-0.02, -0.13), (0.05, -0.05)]), shade=0.7),
            ]


def pump(cut: Cut) -> list[Mark]:
    """Build a court shoe from the side, standing on its toes and its heel."""
    lift, thick = cut["heel"], cut["thick"]
    seat = (0.245, -lift)  # where the heel meets the sole
    insole = [
        seat,
        (0.14, -lift * 0.93),
        (0.03, -lift * 0.5),
        (-0.07, -lift * 0.12),
        (-0.16, -0.008),
        (-0.24, -0.004),
        (-0.295, -0.02),
    ]
    rim = [
        (-0.15, -0.105),
        (-0.09, -0.085 - lift * 0.12),
        (0.01, -0.055 - lift * 0.52),
        (0.12, -0.075 - lift * 0.95),
        (0.235, -0.15 - lift),
    ]
    upper = join(
        smooth(insole),
        smooth([insole[-1], (-0.275, -0.06), (-0.215, -0.09), rim[0]]),
        smooth(rim),
        smooth([rim[-1], (0.262, -0.09 - lift), seat]),
    )
    inside = join(smooth(rim), smooth([rim[-1], (0.1, -0.12 - lift), (-0.02, -0.1 - lift * 0.55), rim[0]]))
    heel = join(
        smooth([(0.252, -lift - 0.035), (0.238, -lift * 0.5), (0.225, 0.0)]),
        smooth([(0.225 - thick, 0.0), (0.215 - thick, -lift * 0.5), (0.12, -lift * 0.86)]),
    )
    return [
        Part(heel, cloth=cut.option("heel cloth") or "main", relief=1.2, folds=0, shade=0.85),
        Part(inside, cloth="lining", shade=0.7, folds=0.1, lift=0),
        *_pump_style(cut, lift),
        Part(upper, relief=1.5, folds=0.3),
        Glow((-0.2, -0.065), (0.05, 0.018), 0.3),
        Line(smooth(insole), width=0.011, cloth="sole", shade=1.0),
        *(_bow() if cut.option("style") == "bow" else []),
    ]


def _pump_style(cut: Cut, lift: float) -> list[Mark]:
    """Build a strap around the ankle."""
    if cut.option("style") != "strap":
        return []
    band = smooth(
        [
            (0.245, -lift - 0.13),
            (0.16, -lift - 0.215),
            (0.08, -lift - 0.2),
            (0.09, -lift - 0.175),
            (0.17, -lift - 0.165),
            (0.25, -lift - 0.115),
        ],
        closed=True,
    )
    return [Part(ribbon(band, 0.018), folds=0), Spot((0.165, -lift - 0.16), 0.012, "metal")]


def _bow() -> list[Mark]:
    loops = edges(
        [
            (-0.15, -0.11),
            (-0.205, -0.15),
            (-0.215, -0.085),
            (-0.15, -0.11),
            (-0.1, -0.165),
            (-0.075, -0.11),
            (-0.15, -0.11),
        ]
    )
    return [Part(loops, cloth="trim", folds=0.2), Spot((-0.15, -0.112), 0.014, "trim")]
