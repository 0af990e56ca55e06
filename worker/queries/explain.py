"""What a found answer means: how likely each item is the garment, what they have in common, and what it says at all."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from catalog.models import Outcome, Recommendation, SimilarityQuery
from catalog.photos.colour import colour_distance
from ml.scoring.calibration import Calibration
from ml.scoring.match_confidence import CLOSE_MATCH, MatchConfidence
from worker.queries.search import TOLD, Facts, Found

GUESSED = ("category", "gender", "colour")  # what similar pictures tell of a garment; its brand they do not
MAJORITY = 0.5  # the share of the nearest items that have to agree

AGREEING = tuple(name for name in TOLD if name != "category")  # the category has an entry of its own


@dataclass(frozen=True)
class Explained:
    """What is written down of an answer."""

    recommendations: list[Recommendation]
    outcome: str  # empty where the encoder knows no probabilities
    guess: dict[str, Any]


def explained(query: SimilarityQuery, found: Found) -> Explained:
    """The recommendations with their reasons. An item is compared with the item asked about, or with the guess."""
    guess, asked = query.guess, {}
    if query.item is not None:
        asked = {name: getattr(query.item, name) for name in TOLD}
    else:
        told = guess_of(found)
        guess, asked = {**guess, **told}, {name: entry["value"] for name, entry in told.items()}
    probabilities = probabilities_of(query, found)
    rows = [
        Recommendation(
            query=query,
            rank=rank,
            item_id=hit.item_id,
            photo_id=hit.photo_id,
            score=hit.score,
            probability=probability,
            why=why(asked, found.items.get(hit.item_id, {}), query.colour_lab, found.colours.get(hit.photo_id)),
        )
        for rank, (hit, probability) in enumerate(zip(found.hits, probabilities, strict=True), start=1)
    ]
    return Explained(rows, outcome_of(probabilities), guess)


def guess_of(found: Found) -> dict[str, dict[str, Any]]:
    """What most of the nearest items share: {"category": {"value": "Dress", "share": 0.8}, …}.

    A vote counts as much as the item's score, and an item about which nothing is known votes for nothing. What less
    than half of the votes agree on is left out.
    """
    votes = [(found.items[hit.item_id], max(hit.score, 0.0)) for hit in found.nearest]
    total = sum(weight for _, weight in votes)
    guess = {}
    for name in GUESSED if total else ():
        shares: dict[str, float] = defaultdict(float)
        for facts, weight in votes:
            shares[facts[name].casefold()] += weight / total
        shares.pop("", None)
        best = max(shares, key=lambda key: shares[key], default="")
        if best and shares[best] >= MAJORITY:
            value = next(facts[name] for facts, _ in votes if facts[name].casefold() == best)
            guess[name] = {"value": value, "share": round(shares[best], 3)}
    return guess


def why(
    asked: Mapping[str, str], facts: Facts, asked_colour: list[float] | None, colour: list[float] | None
) -> dict[str, Any]:
    """What an item has in common with what was asked about; None where one of the two is not known."""
    both = [name for name in TOLD if asked.get(name) and facts.get(name)]
    alike = [name for name in both if asked[name].casefold() == facts[name].casefold()]
    return {
        "same_category": "category" in alike if "category" in both else None,
        "colour_distance": round(colour_distance(asked_colour, colour), 1) if asked_colour and colour else None,
        "agrees": [name for name in alike if name in AGREEING],
    }


Probabilities = list[float] | list[None]


def probabilities_of(query: SimilarityQuery, found: Found) -> Probabilities:
    """How likely each hit is the garment asked about, as far as the encoder's card tells; None where it does not.

    The calibration knows a pair, whatever its rank. How far a photo's first hit stands out above the next ones tells
    more of it, and no other is likelier than that one.
    """
    card = query.answering_encoder.card
    if not card.get("calibration"):
        return [None] * len(found.hits)
    alone = [round(float(value), 4) for value in _curve(card).probability([hit.score for hit in found.hits])]
    sure = None if query.item is not None else _certainty(card, found)
    return alone if sure is None else [sure, *(min(sure, probability) for probability in alone[1:])]


def _curve(card: dict[str, Any]) -> Calibration:
    curve = card["calibration"]
    return Calibration(**{**curve, **{name: tuple(curve[name]) for name in ("cosines", "probabilities")}})


def _certainty(card: dict[str, Any], found: Found) -> float | None:
    """How likely the first hit is the garment on the photo; None where nothing tells."""
    if not card.get("certainty") or not found.hits:
        return None
    best = found.hits[0]
    others = [hit.score for hit in found.nearest if hit.item_id != best.item_id]
    sure = MatchConfidence.from_card(card["certainty"]).probability(best.score, others)
    return None if sure is None else round(sure, 4)


def outcome_of(probabilities: Probabilities) -> str:
    if not probabilities:
        return Outcome.NOTHING_FITS
    known = [probability for probability in probabilities if probability is not None]
    if not known:
        return ""
    return Outcome.CLOSE_MATCH if max(known) >= CLOSE_MATCH else Outcome.NO_CLOSE_MATCH
