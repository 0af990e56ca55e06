"""What a shop would call a garment: "Navy breton fitted crew-neck T-shirt"."""

from __future__ import annotations

from collections.abc import Mapping

from demo.sample.wardrobe.kinds import Kind, Weave

MOST = 3  # adjectives besides colour and cloth
CLOTHS = {"denim", "leather", "corduroy", "quilted", "satin", "cable knit"}  # said aloud; jersey and the like are not

# The choices worth a word, in the order in which the words are said.
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


def name_of(kind: Kind, colour: str, weave: Weave, options: Mapping[str, str]) -> str:
    """The garment's name: colour, cloth, a few adjectives and the type."""
    noun = kind.name if kind.name == "T-shirt" else kind.name.lower()
    words = [colour, *_cloth(weave, noun), *_adjectives(kind, options, noun)[:MOST], noun]
    name = " ".join(words)
    return name[0].upper() + name[1:]


def _cloth(weave: Weave, noun: str) -> list[str]:
    """Pattern and texture, where they are worth saying: nobody says denim jeans."""
    pattern, texture = weave
    figured = [pattern] if pattern != "plain" else []
    return [*figured, *([texture] if texture in CLOTHS and noun != "jeans" else [])]


def _adjectives(kind: Kind, options: Mapping[str, str], noun: str) -> list[str]:
    """A word for each choice that was a choice and that the noun has not already said."""
    open_to_choice = {name for name, choices in kind.options.items() if len(set(choices)) > 1}
    words = [
        word
        for (option, choice), word in ADJECTIVES.items()
        if option in open_to_choice and options.get(option) == choice and word.removesuffix("d") not in noun
    ]
    motif = options.get("motif", "none")
    return words if motif == "none" else [f"{motif}-print", *words]
