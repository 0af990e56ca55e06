"""A kind of garment: ranges of its measures, its options, weaves, colours and prices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from demo.sample.drawing import palette
from demo.sample.drawing.parts import Builder

Range = tuple[float, float]
Measures = dict[str, Range | float]  # a plain number is the same for every item
Weave = tuple[str, str]  # pattern and texture

WOMEN, UNISEX, ANYONE = ("women",), ("unisex",), ("women", "men", "unisex")


@dataclass(frozen=True)
class Kind:
    """One type of garment, as data. Each item draws one value from each range and one of each option."""

    name: str
    build: Builder
    weaves: tuple[Weave, ...]
    price: Range  # euros
    measures: Mapping[str, Range | float] = field(default_factory=dict)  # garment units
    options: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # listed as attributes
    making: Mapping[str, str] = field(default_factory=dict)  # fixed details, not listed
    colours: tuple[str, ...] = palette.ALL
    genders: tuple[str, ...] = ANYONE


def weaves(texture: str, *patterns: str) -> tuple[Weave, ...]:
    """Combine a texture with patterns; a pattern that is named twice is drawn twice as often."""
    return tuple((pattern, texture) for pattern in patterns)


# How an option changes the measures: factors, by option and choice.
ADJUSTMENTS: dict[tuple[str, str], dict[str, float]] = {
    ("fit", "fitted"): {"chest": 0.94, "waist": 0.87, "hem": 0.93, "shoulder": 0.96, "knee": 1.6, "leg": 0.78},
    ("fit", "regular"): {},
    ("fit", "loose"): {
        "chest": 1.1,
        "waist": 1.14,
        "hem": 1.12,
        "shoulder": 1.05,
        "cuff": 1.15,
        "leg": 1.28,
        "knee": 0.2,
    },
    ("fit", "flared"): {"hem": 1.28, "waist": 0.93, "leg": 1.55, "knee": 2.2},
    ("length", "cropped"): {"length": 0.84, "waist_at": 0.95},
    ("length", "regular"): {},
    ("length", "long"): {"length": 1.16},
    ("length", "mini"): {"length": 0.78},
    ("length", "knee"): {},
    ("length", "midi"): {"length": 1.2, "hem": 1.05},
    ("length", "maxi"): {"length": 1.42, "hem": 1.12},
    ("neckline", "crew"): {},
    ("neckline", "V"): {"depth": 2.5},
    ("neckline", "scoop"): {"depth": 2.0, "neck": 1.2},
    ("neckline", "square"): {"depth": 1.7, "neck": 1.35},
    ("neckline", "wrap"): {"depth": 3.4, "neck": 1.1},
    ("neckline", "strap"): {"depth": 2.3, "neck": 1.35},
    ("neckline", "turtleneck"): {"depth": 0.6, "neck": 0.9},
    ("neckline", "stand collar"): {"depth": 0.6, "neck": 0.95},
    ("sleeves", "short"): {"sleeve": 0.34, "cuff": 1.75},
    ("sleeves", "three-quarter"): {"sleeve": 0.72, "cuff": 1.25},
    ("shaft", "low"): {"shaft": 0.8},
    ("shaft", "high"): {"shaft": 1.22},
    ("shaft", "ankle"): {"shaft": 0.75},
    ("shaft", "knee"): {"shaft": 1.12},
    ("heel", "low"): {"heel": 0.5, "thick": 1.7},
    ("heel", "stiletto"): {"heel": 1.15, "thick": 0.5},
    ("brim", "narrow"): {"brim": 0.72},
}


def adjusted(measures: Mapping[str, float], options: Mapping[str, str]) -> dict[str, float]:
    """Return the measures multiplied by the factors of all options."""
    result = dict(measures)
    for choice in options.items():
        for measure, factor in ADJUSTMENTS.get(choice, {}).items():
            if measure in result:
                result[measure] *= factor
    return result
