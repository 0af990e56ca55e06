"""Whether the first answer of a search is the garment that was looked for, or the gallery does not have it.

A cosine alone does not tell: plain garments have many near neighbours, patterned ones few. What tells is the best
cosine together with its lead, by how much it stands out above the next items. Both go into a logistic regression over
searches whose garment is in the gallery, and the same searches after it was taken out.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ml.formats.errors import InputError
from ml.scoring.calibration import CHUNK_ROWS, in_first_half
from ml.vectors import Floats

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Doubles = npt.NDArray[np.float64]

OTHERS = 9
"""How many items after the best its lead is measured against."""

CLOSE_MATCH = 0.4
"""From here on the best answer is called a close match. Below one half, since calling the right item none annoys more
than a needless look at the nearest."""

DIGITS = 4


class CertaintyError(InputError):
    """A certainty cannot be fitted, or the numbers of one make no sense."""


@dataclass(frozen=True)
class Certainty:
    """p = 1 / (1 + exp(-(intercept + cosine * best + lead * (best - mean of the next))))

    `missed`: the share of searches with the right item first that were told there is no close match; `found_out`: the
    share of those without their garment that were. Both are cross-fitted, on `queries` searches. Raises
    `CertaintyError` when made with numbers that no fit gives.
    """

    intercept: float
    cosine: float
    lead: float
    missed: float
    found_out: float
    queries: int

    def __post_init__(self) -> None:
        if not all(math.isfinite(value) for value in (self.intercept, self.cosine, self.lead)):
            raise CertaintyError("A certainty has weights that are no numbers.")
        if not (0 <= self.missed <= 1 and 0 <= self.found_out <= 1) or type(self.queries) is not int:
            raise CertaintyError("The shares of a certainty must lie between 0 and 1.")

    def probability(self, best: float, others: Sequence[float]) -> float | None:
        """Return how likely the item with the cosine `best` is the garment, 0..1.

        `others`: the cosines of the nearest other items, of which the first `OTHERS` count. None without any: an item
        that is alone does not stand out.
        """
        if not others:
            return None
        features = np.array([[best, best - float(np.mean(others[:OTHERS]))]])
        return float(_probabilities(features, self.intercept, np.array([self.cosine, self.lead]))[0])


def fit_certainty(
    queries: Floats, gallery: Floats, query_items: Ints, gallery_items: Ints, clusters: npt.ArrayLike
) -> Certainty:
    """Fit on phone views of validation photos, `queries` (q, d), in a `gallery` (g, d) that has their items.

    `clusters` (q) numbers what the queries have in common, their contributor or item: the shares are judged by the fit
    on the other half of them. Raises `CertaintyError` where there is nothing to tell apart.
    """
    present, right = _searched(queries, gallery, query_items, gallery_items, taken_out=False)
    absent, _ = _searched(queries, gallery, query_items, gallery_items, taken_out=True)
    features = np.concatenate([present, absent])
    truths = np.concatenate([right, np.zeros(len(absent), dtype=bool)])
    first = np.tile(in_first_half(np.asarray(clusters)), 2)
    close = np.empty(len(truths), dtype=bool)
    for fitted, judged in ((first, ~first), (~first, first)):
        intercept, weights = _logistic(features[fitted], truths[fitted])
        close[judged] = _probabilities(features[judged], intercept, weights) >= CLOSE_MATCH
    intercept, weights = _logistic(features, truths)
    return Certainty(
        intercept=round(intercept, DIGITS),
        cosine=round(float(weights[0]), DIGITS),
        lead=round(float(weights[1]), DIGITS),
        missed=round(float((~close[truths]).mean()), DIGITS),
        found_out=round(float((~close[len(present) :]).mean()), DIGITS),
        queries=len(queries),
    )


def _searched(
    queries: Floats, gallery: Floats, query_items: Ints, gallery_items: Ints, *, taken_out: bool
) -> tuple[Doubles, Bools]:
    """The features (q, 2) of each search, and whether its first answer is the right item (q)."""
    items, of_item = np.unique(gallery_items, return_inverse=True)
    if len(items) < OTHERS + 2:
        raise CertaintyError(f"A lead over {OTHERS} other items needs a gallery of at least {OTHERS + 2} items.")
    order = np.argsort(of_item, kind="stable")
    starts = np.searchsorted(of_item[order], np.arange(len(items)))
    features, right = np.empty((len(queries), 2)), np.empty(len(queries), dtype=bool)
    for start in range(0, len(queries), CHUNK_ROWS):
        rows = slice(start, start + CHUNK_ROWS)
        scores = np.maximum.reduceat((queries[rows] @ gallery.T)[:, order], starts, axis=1)  # one slot per item
        own = items[None, :] == query_items[rows, None]
        if taken_out:
            scores[own] = -np.inf
        best = scores.argmax(axis=1)
        top = -np.partition(-scores, OTHERS, axis=1)[:, : OTHERS + 1]
        highest = top.max(axis=1)
        features[rows] = np.stack([highest, highest - (top.sum(axis=1) - highest) / OTHERS], axis=1)
        right[rows] = np.take_along_axis(own, best[:, None], axis=1)[:, 0] & (not taken_out)
    return features, right


def _logistic(features: Doubles, truths: Bools) -> tuple[float, Doubles]:
    if truths.all() or not truths.any():
        raise CertaintyError("A certainty needs searches that were right and searches that were not.")
    from sklearn.linear_model import LogisticRegression

    middle, spread = features.mean(axis=0), features.std(axis=0).clip(min=1e-6)
    fit = LogisticRegression(C=10).fit((features - middle) / spread, truths)
    weights = fit.coef_[0] / spread
    return float(fit.intercept_[0] - weights @ middle), weights


def _probabilities(features: Doubles, intercept: float, weights: Doubles) -> Doubles:
    """The probabilities (n) of features (n, 2): the best cosine and its lead."""
    return 1 / (1 + np.exp(-(intercept + features @ weights)))
