"""Kinds of garment for the lower body: trousers, jeans, joggers, shorts and skirts."""

from __future__ import annotations

from demo.sample.cuts import bottoms
from demo.sample.drawing.palette import BRIGHT, DENIM, EARTHY
from demo.sample.wardrobe.kinds import WOMEN, Kind, Measures, weaves

LEGS: Measures = {
    "waist": (0.15, 0.162),
    "hip": (0.178, 0.19),
    "rise": (0.225, 0.25),
    "length": (0.84, 0.88),
    "leg": (0.062, 0.07),
    "knee": (0.004, 0.008),
    "splay": (2.0, 4.0),
}

BOTTOMS = (
    Kind(
        "Trousers",
        bottoms.trousers,
        (
            *weaves("twill", "plain", "windowpane", "pinstriped", "plain"),
            ("plain", "corduroy"),
            ("tartan", "wool"),
            ("camouflage", "twill"),
        ),
        (35, 119),
        LEGS,
        {
            "fit": ("fitted", "regular", "loose", "flared"),
            "length": ("regular", "regular", "cropped"),
            "pockets": ("slanted", "cargo"),
            "finish": ("pressed", "washed"),
        },
        {"waistband": "button"},
        (*EARTHY, "white", "red", "green"),
    ),
    Kind(
        "Jeans",
        bottoms.trousers,
        (("plain", "denim"),),
        (39, 129),
        LEGS,
        {
            "fit": ("fitted", "regular", "loose", "flared"),
            "finish": ("faded", "raw"),
            "hem": ("plain", "turn-up"),
            "length": ("regular", "cropped"),
        },
        {"waistband": "button", "pockets": "jeans"},
        DENIM,
    ),
    Kind(
        "Joggers",
        bottoms.trousers,
        weaves("fleece", "plain", "colour-block", "camouflage", "plain"),
        (25, 69),
        {**LEGS, "leg": (0.05, 0.056), "knee": (-0.008, -0.004)},
        {"fit": ("regular", "loose"), "waistband": ("elastic",), "pockets": ("slanted", "cargo")},
        {"hem": "cuffed", "band": "rib"},
        BRIGHT + EARTHY,
    ),
    Kind(
        "Shorts",
        bottoms.trousers,
        (*weaves("twill", "plain", "striped", "gingham", "floral", "camouflage"), ("plain", "denim")),
        (15, 59),
        {**LEGS, "length": (0.42, 0.48), "leg": (0.09, 0.098), "knee": 0.0, "splay": (9.0, 13.0)},
        {
            "fit": ("fitted", "regular"),
            "waistband": ("button", "elastic"),
            "pockets": ("slanted", "cargo", "jeans"),
            "hem": ("plain", "turn-up"),
        },
    ),
    Kind(
        "Skirt",
        bottoms.skirt,
        (
            *weaves("poplin", "plain", "floral", "tartan", "dotted", "gingham", "striped"),
            ("plain", "denim"),
            ("plain", "leather"),
        ),
        (25, 89),
        {"waist": (0.125, 0.14), "hip": (0.17, 0.185), "hem": (0.19, 0.3), "length": (0.46, 0.52)},
        {"style": ("plain", "pleated", "buttoned", "tiered", "slit"), "length": ("mini", "knee", "midi", "maxi")},
        genders=WOMEN,
    ),
)
