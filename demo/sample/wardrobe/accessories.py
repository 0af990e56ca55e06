"""Kinds of accessory: hats, shoes and scarves."""

from __future__ import annotations

from demo.sample.cuts import hats, shoes
from demo.sample.drawing.palette import LEATHER
from demo.sample.wardrobe.kinds import UNISEX, WOMEN, Kind, weaves

ACCESSORIES = (
    Kind(
        "Cap",
        hats.cap,
        (*weaves("twill", "plain", "camouflage", "gingham", "plain"), ("plain", "denim"), ("plain", "corduroy")),
        (12, 39),
        {"height": (0.2, 0.235), "width": (0.2, 0.215), "peak": (0.13, 0.16)},
        {"front": ("badge", "plain"), "visor": ("main", "trim")},
        genders=UNISEX,
    ),
    Kind(
        "Beanie",
        hats.beanie,
        (*weaves("knit", "plain", "striped", "multi-striped", "argyle", "chevron"), ("plain", "cable knit")),
        (12, 39),
        {"height": (0.25, 0.3), "width": (0.175, 0.19)},
        {"top": ("pompom", "plain"), "brim": ("main", "trim")},
        genders=UNISEX,
    ),
    Kind(
        "Hat",
        hats.hat,
        (*weaves("wool", "plain", "plain", "windowpane"), *weaves("canvas", "plain", "dotted", "gingham", "floral")),
        (25, 89),
        {"height": (0.2, 0.24), "width": (0.155, 0.17), "brim": (0.32, 0.37)},
        {"crown": ("pinched", "round"), "brim": ("wide", "narrow")},
        genders=("women", "men"),
    ),
    Kind(
        "Sneaker",
        shoes.sneaker,
        (*weaves("canvas", "plain", "camouflage", "gingham"), ("plain", "leather"), ("plain", "knit")),
        (45, 149),
        {"shaft": (0.3, 0.33), "sole": (0.045, 0.065)},
        {
            "shaft": ("low", "low", "high"),
            "side": ("chevrons", "wave", "disc", "plain"),
            "toe": ("main", "sole", "trim"),
        },
    ),
    Kind(
        "Boot",
        shoes.boot,
        (("plain", "leather"), ("plain", "wool"), ("plain", "leather")),
        (79, 229),
        {"shaft": (0.42, 0.47), "heel": (0.05, 0.08), "flare": (0.0, 0.02)},
        {"shaft": ("ankle", "mid", "knee"), "style": ("laced", "elastic", "buckled", "zipped")},
        colours=LEATHER,
    ),
    Kind(
        "Pump",
        shoes.pump,
        (("plain", "leather"), ("plain", "satin"), ("dotted", "satin"), ("plain", "wool"), ("floral", "satin")),
        (49, 159),
        {"heel": (0.2, 0.23), "thick": (0.035, 0.045)},
        {"heel": ("low", "high", "stiletto"), "style": ("plain", "strap", "bow")},
        {"heel cloth": "main"},
        genders=WOMEN,
    ),
    Kind(
        "Scarf",
        hats.scarf,
        (
            *weaves("wool", "plain", "tartan", "striped", "windowpane", "multi-striped"),
            ("plain", "knit"),
            ("floral", "poplin"),
            ("dotted", "satin"),
        ),
        (15, 79),
        {"width": (0.12, 0.145), "length": (0.46, 0.54)},
        genders=("women", "men", "unisex"),
    ),
)
