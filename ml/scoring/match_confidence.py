"""Match confidence: the probability that the first hit of a search is the garment in the photo (open-set retrieval).

A cosine alone is not enough: plain garments have many near neighbours, patterned ones few. The features are the best
cosine and its lead over the next items. A logistic regression is fitted on searches whose garment is in the gallery,
and on the same searches without the garment.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ml.formats.errors import InputError
from ml.scoring.calibration import CHUNK_ROWS, in_first_half
from ml.vectors import Floats

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Doubles = npt.NDArray[np.float64]

OTHERS = 9
"""The lead of the best item is measured against this many following items."""

CLOSE_MATCH = 0.4
"""A first hit with at least this probability is a close match. Below 0.5, because a false negative (the right item,
reported as "no close match") costs a shopper more than a false positive."""

DIGITS = 4

CARD_KEYS: Final = {"false_negative_rate": "missed", "true_negative_rate": "found_out"}
"""Keys of `card.json` that differ from the names of `MatchConfidence`'s fields; stored, so they stay."""


class MatchConfidenceError(InputError):
    """A match confidence cannot be fitted, or its numbers are out of range."""

    code = "match_confidence_invalid"


@dataclass(frozen=True)
class MatchConfidence:
    """p = 1 / (1 + exp(-(intercept + cosine * best + lead * (best - mean of the next)))).

    `false_negative_rate`: share of the searches with the right item first that fall below `CLOSE_MATCH`;
    `true_negative_rate`: share of the searches without their garment that fall below it. Both are cross-fitted, on
    `queries` searches. Raises `MatchConfidenceError` for numbers out of range.
    """

    intercept: float
    cosine: float
    lead: float
    false_negative_rate: float
    true_negative_rate: float
    queries: int

    def __post_init__(self) -> None:
        if not all(math.isfinite(value) for value in (self.intercept, self.cosine, self.lead)):
            raise MatchConfidenceError("The weights of a match confidence must be finite numbers.")
        rates = (self.false_negative_rate, self.true_negative_rate)
        if not all(0 <= rate <= 1 for rate in rates) or type(self.queries) is not int:
            raise MatchConfidenceError("The rates of a match confidence must lie between 0 and 1.")

    @classmethod
    def from_card(cls, entry: Mapping[str, Any]) -> "MatchConfidence":
        """Return the entry "certainty" of a card. Raises `TypeError` for other keys, or `MatchConfidenceError`."""
        if unknown := entry.keys() & CARD_KEYS.keys():
            raise TypeError(f"unknown entry {min(unknown)!r}.")
        names = {key: name for name, key in CARD_KEYS.items()}
        return cls(**{names.get(key, key): value for key, value in entry.items()})

    def to_card(self) -> dict[str, float]:
        """Return the entry "certainty" of a card."""
        return {CARD_KEYS.get(name, name): value for name, value in asdict(self).items()}

    def probability(self, best: float, others: Sequence[float]) -> float | None:
        """Return how likely the item with the cosine `best` is the garment, 0..1.

        `others`: the cosines of the next nearest items, of which the first `OTHERS` count. None if there are none:
        without other items there is no lead.
        """
        if not others:
            return None
        features = np.array([[best, best - float(np.mean(others[:OTHERS]))]])
        return float(_probabilities(features, self.intercept, np.array([self.cosine, self.lead]))[0])


def fit_match_confidence(
    queries: Floats, gallery: Floats, query_items: Ints, gallery_items: Ints, clusters: npt.ArrayLike
) -> MatchConfidence:
    """Fit on phone views of validation photos, `queries` (q, d), in a `gallery` (g, d) that has their items.

    `clusters` (q): the number of each query's contributor or item. The rates are cross-fitted: each half of the
    clusters is evaluated with the fit on the other half. Raises `MatchConfidenceError` if the gallery is too small or
    the searches are all right or all wrong.
    """
    present, right = _search_features(queries, gallery, query_items, gallery_items, exclude_query_item=False)
    absent, _ = _search_features(queries, gallery, query_items, gallery_items, exclude_query_item=True)
    features = np.concatenate([present, absent])
    truths = np.concatenate([right, np.zeros(len(absent), dtype=bool)])
    first = np.tile(in_first_half(np.asarray(clusters)), 2)
    close = np.empty(len(truths), dtype=bool)
    for fitted, held_out in ((first, ~first), (~first, first)):
        intercept, weights = _logistic(features[fitted], truths[fitted])
        close[held_out] = _probabilities(features[held_out], intercept, weights) >= CLOSE_MATCH
    intercept, weights = _logistic(features, truths)
    return MatchConfidence(
        intercept=round(intercept, DIGITS),
        cosine=round(float(weights[0]), DIGITS),
        lead=round(float(weights[1]), DIGITS),
        false_negative_rate=round(float((~close[truths]).mean()), DIGITS),
        true_negative_rate=round(float((~close[len(present) :]).mean()), DIGITS),
        queries=len(queries),
    )


def _search_features(
    queries: Floats, gallery: Floats, query_items: Ints, gallery_items: Ints, *, exclude_query_item: bool
) -> tuple[Doubles, Bools]:
    """Return the features (q, 2) of each search, and whether its first hit is the right item (q)."""
    items, of_item = np.unique(gallery_items, return_inverse=True)
    if len(items) < OTHERS + 2:
        raise MatchConfidenceError(
            f"A lead over {OTHERS} other items needs a gallery of {OTHERS + 2} items or more, not {len(items)}.",
            code="match_confidence_small_gallery",
        )
    order = np.argsort(of_item, kind="stable")
    starts = np.searchsorted(of_item[order], np.arange(len(items)))
    features, right = np.empty((len(queries), 2)), np.empty(len(queries), dtype=bool)
    for start in range(0, len(queries), CHUNK_ROWS):
        rows = slice(start, start + CHUNK_ROWS)
        scores = np.maximum.reduceat((queries[rows] @ gallery.T)[:, order], starts, axis=1)  # one slot per item
        is_query_item = items[None, :] == query_items[rows, None]
        if exclude_query_item:
            scores[is_query_item] = -np.inf
        best = scores.argmax(axis=1)
        top = -np.partition(-scores, OTHERS, axis=1)[:, : OTHERS + 1]
        highest = top.max(axis=1)
        features[rows] = np.stack([highest, highest - (top.sum(axis=1) - highest) / OTHERS], axis=1)
        right[rows] = np.take_along_axis(is_query_item, best[:, None], axis=1)[:, 0] & (not exclude_query_item)
    return features, right


def _logistic(features: Doubles, truths: Bools) -> tuple[float, Doubles]:
    if truths.all() or not truths.any():
        raise MatchConfidenceError(
            "A match confidence needs searches with a right and searches with a wrong first hit.",
            code="match_confidence_one_sided",
        )
    from sklearn.linear_model import LogisticRegression

    middle, spread = features.mean(axis=0), features.std(axis=0).clip(min=1e-6)
    fit = LogisticRegression(C=10).fit((features - middle) / spread, truths)
    weights = fit.coef_[0] / spread
    return float(fit.intercept_[0] - weights @ middle), weights


def _probabilities(features: Doubles, intercept: float, weights: Doubles) -> Doubles:
    """Return the probabilities (n) of features (n, 2): the best cosine and its lead."""
    return 1 / (1 + np.exp(-(intercept + features @ weights)))
