"""Items of the sample catalogue: garment, name, colour, price and attributes, drawn at random from a seed."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from demo.sample.drawing import palette
from demo.sample.drawing.fabrics import Fabric
from demo.sample.drawing.noise import seeded_random
from demo.sample.drawing.palette import COLOURS, Rgb, dye_lot, luminance, mix, shade
from demo.sample.names import build_name
from demo.sample.wardrobe import KINDS
from demo.sample.wardrobe.kinds import Kind, adjusted

BRANDS = (
    *("Alderlane", "Brackwood", "Corvina", "Dunmarl", "Esterhall", "Fennory", "Gullvik", "Harrowby", "Ilmarinna"),
    *("Kestrel & Pine", "Lunaria", "Morrowmill", "Nordhavn Strik", "Ostrelle", "Pikefield", "Rue Perdue", "Saltmere"),
)
MATERIALS = {
    "jersey": "cotton jersey",
    "poplin": "cotton poplin",
    "fleece": "brushed cotton",
    "knit": "knitted wool",
    "rib": "ribbed knit",
    "quilted": "quilted nylon",
    "twill": "cotton twill",
}
REPEATS: dict[str, tuple[float, float]] = {  # length of a pattern's repeat, in garment units
    "striped": (0.045, 0.1),
    "breton": (0.028, 0.05),
    "multi-striped": (0.06, 0.12),
    "vertical-striped": (0.022, 0.05),
    "pinstriped": (0.03, 0.045),
    "gingham": (0.024, 0.06),
    "tartan": (0.07, 0.13),
    "windowpane": (0.06, 0.1),
    "dotted": (0.04, 0.09),
    "chevron": (0.05, 0.08),
    "argyle": (0.1, 0.14),
    "floral": (0.075, 0.13),
    "camouflage": (0.06, 0.09),
    "colour-block": (0.055, 0.075),
}
UNLISTED = {"none", "main", "trim", "sole"}  # option values that are not listed as attributes


@dataclass(frozen=True)
class Look:
    """Everything the renderer draws a garment from: measures in garment units, options, and fabrics by use."""

    kind: str
    measures: Mapping[str, float]
    options: Mapping[str, str]
    cloths: Mapping[str, Fabric]


@dataclass(frozen=True)
class SampleItem:
    """One garment in the sample catalogue."""

    external_id: str
    name: str
    category: str
    brand: str
    gender: str
    colour: str
    price: Decimal
    currency: str
    attributes: dict[str, str]
    look: Look


def sample_items(count: int = 600, seed: int = 0) -> list[SampleItem]:
    """Return the first `count` items. A longer catalogue starts with the items of a shorter one; kinds alternate."""
    return [_item(number, seed) for number in range(count)]


def _item(number: int, seed: int) -> SampleItem:
    kind = KINDS[number % len(KINDS)]
    rng = seeded_random("item", seed, number)
    colour, (pattern, texture) = _colour_and_weave(kind, number // len(KINDS), seed)
    options = {name: rng.choice(choices) for name, choices in kind.options.items()}
    if pattern != "plain" or options.get("closure") == "zip":
        options.pop("motif", None)  # a print is not visible on a pattern, and a zip would divide it
    measures = {
        name: rng.uniform(*value) if isinstance(value, tuple) else value for name, value in kind.measures.items()
    }
    other = palette.contrasting_colour(colour, rng)
    look = Look(
        kind.name,
        adjusted(measures, options),
        {**kind.making, **options},
        _cloths(colour, other, (pattern, texture), rng),
    )
    listed = {name: choice for name, choice in options.items() if choice not in UNLISTED}
    return SampleItem(
        external_id=f"sample-{number + 1:04d}",
        name=build_name(kind, colour, (pattern, texture), options),
        category=kind.name,
        brand=rng.choice(BRANDS),
        gender=rng.choice(kind.genders),
        colour=colour,
        price=Decimal(round(rng.triangular(*kind.price, kind.price[0] * 1.3))) - Decimal("0.05"),
        currency="EUR",
        attributes={"pattern": pattern, "material": MATERIALS.get(texture, texture), "second_colour": other, **listed},
        look=look,
    )


def _colour_and_weave(kind: Kind, turn: int, seed: int) -> tuple[str, tuple[str, str]]:
    """Return colour and weave of the kind's item number `turn`; no pair repeats before all have been used.

    Shuffled colours and weaves are combined in order, so that a short catalogue is varied too; after each round of
    the colours, the weaves are shifted by one.
    """
    colours, weaves = list(dict.fromkeys(kind.colours)), list(kind.weaves)
    shuffle = seeded_random("pairs", seed, kind.name)
    shuffle.shuffle(colours)
    shuffle.shuffle(weaves)
    lap, place = divmod(turn, len(colours))
    return colours[place], weaves[(place + lap) % len(weaves)]


def _cloths(colour: str, other: str, weave: tuple[str, str], rng: random.Random) -> dict[str, Fabric]:
    """Return the fabrics of one garment by use."""
    pattern, texture = weave
    ground, figure = dye_lot(colour, rng), dye_lot(other, rng)
    low, high = REPEATS.get(pattern, (0.05, 0.05))
    main = Fabric(_inks(ground, figure, pattern, rng), pattern, texture, rng.uniform(low, high))
    trim = rng.choice((ground, figure, shade(ground, 0.75)))
    pale_sole = rng.random() < 0.7 and texture != "wool"
    return {
        "main": main,
        "trim": Fabric((trim,), texture="rib" if texture in ("knit", "cable knit") else "jersey"),
        "rib": Fabric((rng.choice((ground, shade(ground, 0.86))),), texture="rib"),
        "lining": Fabric((mix(ground, (0.55, 0.53, 0.5), 0.6),)),
        "wrong side": Fabric((mix(ground, (0.85, 0.87, 0.9), 0.55),), texture=texture),
        "print": Fabric((figure,), texture="jersey"),
        "print two": Fabric(
            (
                dye_lot(palette.contrasting_colour(other, rng), rng)
                if luminance(figure) > 0.5
                else mix(figure, (1, 1, 1), 0.55),
            )
        ),
        "label": Fabric(((0.92, 0.9, 0.86),), texture="satin"),
        "belt": Fabric((rng.choice((COLOURS["black"], COLOURS["brown"], COLOURS["camel"])),), texture="leather"),
        "metal": Fabric((rng.choice(((0.8, 0.8, 0.82), (0.8, 0.68, 0.42), (0.62, 0.48, 0.36))),), texture="satin"),
        "button": Fabric((rng.choice(((0.95, 0.94, 0.9), shade(ground, 0.6), (0.3, 0.22, 0.17))),)),
        "cord": Fabric((rng.choice((shade(ground, 0.8), mix(ground, (1, 1, 1), 0.75))),)),
        "lace": Fabric((rng.choice(((0.95, 0.95, 0.93), (0.14, 0.14, 0.15), figure)),)),
        "stitch": Fabric(((0.83, 0.58, 0.27),)),
        "sole": Fabric(
            ((0.94, 0.93, 0.9) if pale_sole else rng.choice(((0.16, 0.15, 0.15), (0.66, 0.5, 0.34))),),
            texture="canvas",
        ),
    }


def _inks(ground: Rgb, figure: Rgb, pattern: str, rng: random.Random) -> tuple[Rgb, ...]:
    """Return the colours of the pattern, the ground first."""
    third = rng.choice((COLOURS["white"], COLOURS["mustard"], COLOURS["red"], shade(figure, 0.6)))
    match pattern:
        case "plain":
            return (ground,)
        case "camouflage":
            return ground, shade(ground, 0.62), mix(shade(ground, 0.85), (0.8, 0.74, 0.6), 0.45)
        case "floral":
            return ground, mix((0.24, 0.42, 0.25), ground, 0.25), figure, third
        case _:
            return ground, figure, third
