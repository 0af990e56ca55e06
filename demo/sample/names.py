"""Product names of garments, such as "Navy breton fitted crew-neck T-shirt"."""

from __future__ import annotations

from collections.abc import Mapping

from demo.sample.wardrobe.kinds import Kind, Weave

MAX_ADJECTIVES = 3  # adjectives besides colour and cloth
CLOTHS = {"denim", "leather", "corduroy", "quilted", "satin", "cable knit"}  # the textures that a name mentions

# The options that a name mentions, in the order of its words.
ADJECTIVES: dict[tuple[str, str], str] = {
    ("finish", "faded"): "faded",
    ("fit", "fitted"): "fitted",
    ("fit", "loose"): "loose",
    ("fit", "flared"): "flared",
    ("length", "cropped"): "cropped",
    ("length", "long"): "long",
    ("closure", "single-breasted"): "single-breasted",
    ("closure", "double-breasted"): "double-breasted",
    ("closure", "zip"): "zip-up",
    ("neckline", "crew"): "crew-neck",
    ("neckline", "V"): "V-neck",
    ("neckline", "scoop"): "scoop-neck",
    ("neckline", "square"): "square-neck",
    ("neckline", "turtleneck"): "turtleneck",
    ("neckline", "wrap"): "wrap",
    ("neckline", "strap"): "strappy",
    ("neckline", "hood"): "hooded",
    ("sleeves", "sleeveless"): "sleeveless",
    ("sleeves", "short"): "short-sleeved",
    ("sleeves", "three-quarter"): "three-quarter-sleeved",
    ("sleeves", "long"): "long-sleeved",
    ("waist", "belt"): "belted",
    ("waist", "tied"): "tie-waist",
    ("pockets", "cargo"): "cargo",
    ("heel", "low"): "low-heeled",
    ("heel", "stiletto"): "stiletto",
    ("shaft", "low"): "low-top",
    ("shaft", "high"): "high-top",
    ("shaft", "ankle"): "ankle",
    ("shaft", "knee"): "knee-high",
    ("brim", "wide"): "wide-brimmed",
    ("top", "pompom"): "pompom",
    ("style", "pleated"): "pleated",
    ("style", "buttoned"): "buttoned",
    ("style", "tiered"): "tiered",
    ("style", "slit"): "slit",
    ("style", "laced"): "lace-up",
    ("style", "elastic"): "elastic-sided",
    ("style", "buckled"): "buckled",
    ("style", "zipped"): "zipped",
    ("style", "strap"): "ankle-strap",
    ("style", "bow"): "bow-front",
    ("length", "mini"): "mini",
    ("length", "midi"): "midi",
    ("length", "maxi"): "maxi",
}


def build_name(kind: Kind, colour: str, weave: Weave, options: Mapping[str, str]) -> str:
    """Return the name: colour, cloth, up to three adjectives and the type."""
    noun = kind.name if kind.name == "T-shirt" else kind.name.lower()
    words = [colour, *_cloth(weave, noun), *_adjectives(kind, options, noun)[:MAX_ADJECTIVES], noun]
    name = " ".join(words)
    return name[0].upper() + name[1:]


def _cloth(weave: Weave, noun: str) -> list[str]:
    """Return pattern and texture if the name mentions them; jeans are always of denim."""
    pattern, texture = weave
    patterns = [pattern] if pattern != "plain" else []
    return [*patterns, *([texture] if texture in CLOTHS and noun != "jeans" else [])]


def _adjectives(kind: Kind, options: Mapping[str, str], noun: str) -> list[str]:
    """Return an adjective for each option with several values that the noun does not imply."""
    variable = {name for name, choices in kind.options.items() if len(set(choices)) > 1}
    words = [
        word
        for (option, choice), word in ADJECTIVES.items()
        if option in variable and options.get(option) == choice and word.removesuffix("d") not in noun
    ]
    motif = options.get("motif", "none")
    return words if motif == "none" else [f"{motif}-print", *words]
