"""Explain a search result: match probabilities, attributes in common, a guess about the garment, and the outcome."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from catalog.models import Outcome, Recommendation, SimilarityQuery
from catalog.photos.colour import colour_distance
from ml.scoring.calibration import Calibration
from ml.scoring.match_confidence import CLOSE_MATCH, MatchConfidence
from worker.queries.search import ATTRIBUTES, Attributes, SearchResult

GUESSED = ("category", "gender", "colour")  # not the brand: similar pictures have different brands
MAJORITY = 0.5  # least share of the votes of the nearest items

AGREEING = tuple(name for name in ATTRIBUTES if name != "category")  # the category has a field of its own


@dataclass(frozen=True)
class Explanation:
    """The recorded part of an answer."""

    recommendations: list[Recommendation]
    outcome: str  # empty if the encoder has no calibration
    guess: dict[str, Any]


def explain(query: SimilarityQuery, result: SearchResult) -> Explanation:
    """Build the recommendations with their reasons. Items are compared with the query's item, or with the guess."""
    guess, attributes = query.guess, {}
    if query.item is not None:
        attributes = {name: getattr(query.item, name) for name in ATTRIBUTES}
    else:
        guessed = guess_attributes(result)
        guess, attributes = {**guess, **guessed}, {name: entry["value"] for name, entry in guessed.items()}
    probabilities = match_probabilities(query, result)
    rows = [
        Recommendation(
            query=query,
            rank=rank,
            item_id=hit.item_id,
            photo_id=hit.photo_id,
            score=hit.score,
            probability=probability,
            why=match_reasons(
                attributes, result.items.get(hit.item_id, {}), query.colour_lab, result.colours.get(hit.photo_id)
            ),
        )
        for rank, (hit, probability) in enumerate(zip(result.hits, probabilities, strict=True), start=1)
    ]
    return Explanation(rows, decide_outcome(probabilities), guess)


def guess_attributes(result: SearchResult) -> dict[str, dict[str, Any]]:
    """Guess the garment's attributes by a vote of the nearest items: {"category": {"value": "Dress", "share": 0.8}, …}.

    Votes are weighted by score; an item without the attribute does not vote but counts. Attributes without a majority
    are left out.
    """
    votes = [(result.items[hit.item_id], max(hit.score, 0.0)) for hit in result.nearest]
    total = sum(weight for _, weight in votes)
    guess = {}
    for name in GUESSED if total else ():
        shares: dict[str, float] = defaultdict(float)
        for attributes, weight in votes:
            shares[attributes[name].casefold()] += weight / total
        shares.pop("", None)
        best = max(shares, key=lambda key: shares[key], default="")
        if best and shares[best] >= MAJORITY:
            value = next(attributes[name] for attributes, _ in votes if attributes[name].casefold() == best)
            guess[name] = {"value": value, "share": round(shares[best], 3)}
    return guess


def match_reasons(
    query: Mapping[str, str], item: Attributes, query_colour: list[float] | None, item_colour: list[float] | None
) -> dict[str, Any]:
    """Return the attributes that an item and the query's garment share. A value is None if either side lacks it."""
    both = [name for name in ATTRIBUTES if query.get(name) and item.get(name)]
    alike = [name for name in both if query[name].casefold() == item[name].casefold()]
    distance = round(colour_distance(query_colour, item_colour), 1) if query_colour and item_colour else None
    return {
        "same_category": "category" in alike if "category" in both else None,
        "colour_distance": distance,
        "agrees": [name for name in alike if name in AGREEING],
    }


Probabilities = list[float] | list[None]


def match_probabilities(query: SimilarityQuery, result: SearchResult) -> Probabilities:
    """Return the probability of each hit to be the query's garment; None if the encoder's card has no calibration.

    The calibration judges a pair by its score alone. For a photo, the first hit is judged by how far it stands out
    above the next ones instead, and no other hit gets a higher probability than the first.
    """
    card = query.answering_encoder.card
    if not card.get("calibration"):
        return [None] * len(result.hits)
    by_score = [round(float(value), 4) for value in _calibration(card).probability([hit.score for hit in result.hits])]
    first = None if query.item is not None else _match_confidence(card, result)
    return by_score if first is None else [first, *(min(first, probability) for probability in by_score[1:])]


def _calibration(card: dict[str, Any]) -> Calibration:
    curve = card["calibration"]
    return Calibration(**{**curve, **{name: tuple(curve[name]) for name in ("cosines", "probabilities")}})


def _match_confidence(card: dict[str, Any], result: SearchResult) -> float | None:
    """Return the probability of the first hit to be the garment on the photo; None without such a calibration."""
    if not card.get("certainty") or not result.hits:
        return None
    best = result.hits[0]
    others = [hit.score for hit in result.nearest if hit.item_id != best.item_id]
    probability = MatchConfidence.from_card(card["certainty"]).probability(best.score, others)
    return None if probability is None else round(probability, 4)


def decide_outcome(probabilities: Probabilities) -> str:
    """Return the outcome by the highest probability; empty if the probabilities are unknown."""
    if not probabilities:
        return Outcome.NOTHING_FITS
    calibrated = [probability for probability in probabilities if probability is not None]
    if not calibrated:
        return ""
    return Outcome.CLOSE_MATCH if max(calibrated) >= CLOSE_MATCH else Outcome.NO_CLOSE_MATCH
