"""Calibrate cosines: the probability that a person would call two photos the same garment.

Fitted on the pairs that a search presents (`search_pairs`) by isotonic regression: the best fit among all
non-decreasing functions of the cosine (B. Zadrozny and C. Elkan, "Transforming Classifier Scores into
Accurate Multiclass Probability Estimates", KDD 2002).
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ml.formats.errors import InputError
from ml.vectors import Floats

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Doubles = npt.NDArray[np.float64]

MAX_KNOTS = 64
COSINE_DIGITS, PROBABILITY_DIGITS = 5, 4
BINS = 15
CHUNK_ROWS = 512
SEED = 0


class CalibrationError(InputError):
    """A calibration cannot be fitted, or its knots are out of range."""

    code = "calibration_invalid"


@dataclass(frozen=True)
class Calibration:
    """`cosines` (rising) and the `probabilities` there (0..1, never falling) are the knots of a piecewise linear curve.

    `expected_calibration_error`: the mean error of a probability, 0..1, on pairs that its curve was not fitted on.
    `pairs`: how many pairs it was fitted on. Raises `CalibrationError` for values out of range.
    """

    cosines: tuple[float, ...]
    probabilities: tuple[float, ...]
    expected_calibration_error: float
    pairs: int

    def __post_init__(self) -> None:
        cosines, probabilities = np.array(self.cosines, np.float64), np.array(self.probabilities, np.float64)
        if not 1 <= len(cosines) == len(probabilities) <= MAX_KNOTS:
            raise CalibrationError(
                f"{len(cosines)} cosines and {len(probabilities)} probabilities are not 1 to {MAX_KNOTS} knots."
            )
        if not ((np.abs(cosines) <= 1).all() and (np.diff(cosines) > 0).all()):
            raise CalibrationError("The cosines of a calibration must rise and lie between -1 and 1.")
        if not ((probabilities >= 0).all() and (probabilities <= 1).all() and (np.diff(probabilities) >= 0).all()):
            raise CalibrationError("The probabilities of a calibration must not fall and lie between 0 and 1.")
        if not 0 <= self.expected_calibration_error <= 1 or type(self.pairs) is not int or self.pairs < 1:
            raise CalibrationError("A calibration needs an error between 0 and 1 and at least one pair.")

    def probability(self, cosines: npt.ArrayLike) -> Floats:
        """Return the probabilities of cosines of any shape: linear between the knots, constant outside."""
        between = np.interp(np.asarray(cosines, dtype=np.float64), self.cosines, self.probabilities)
        return np.asarray(between, dtype=np.float32)


def search_pairs(
    queries: Floats, gallery: Floats, query_items: Ints, gallery_items: Ints, k: int = 20
) -> tuple[Floats, Bools]:
    """Return, for each query, the cosines (q, k) to its `k` nearest gallery rows and whether they show its item (q, k).

    `queries` (q, d) are phone views of validation photos, `gallery` (g, d) all photos as they are, the queries' own
    among them. "Its item": the same photo or another photo of the item. With a gallery smaller than `k`, all its rows.
    """
    k = min(k, len(gallery))
    cosines, same = np.empty((len(queries), k), np.float32), np.empty((len(queries), k), bool)
    for start in range(0, len(queries), CHUNK_ROWS):
        rows = slice(start, start + CHUNK_ROWS)
        scores = queries[rows] @ gallery.T
        nearest = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        cosines[rows] = np.take_along_axis(scores, nearest, axis=1)
        same[rows] = gallery_items[nearest] == query_items[rows, None]
    return cosines, same


def fit_calibration(cosines: npt.ArrayLike, same: npt.ArrayLike, clusters: npt.ArrayLike) -> Calibration:
    """Fit the curve on pairs with their `cosines` and whether they are the `same`, both (q, k) or (q).

    `clusters` (q): the number of each query's contributor or item. The error is cross-fitted: the curve of one half of
    the clusters is evaluated on the other half and vice versa, since photos of one cluster are similar; the curve
    itself is fitted on all pairs. Raises `CalibrationError` if the pairs are all the same or all different.
    """
    scores, truths = np.asarray(cosines, dtype=np.float64), np.asarray(same, dtype=bool)
    numbers = np.asarray(clusters)
    if scores.shape != truths.shape or scores.shape[:1] != numbers.shape or not np.isfinite(scores).all():
        raise CalibrationError(
            f"Cosines {scores.shape}, truths {truths.shape} and clusters {numbers.shape} must fit and be finite.",
            code="calibration_shapes",
        )
    row_clusters = np.repeat(numbers, scores[:1].size)
    scores, truths = scores.ravel().clip(-1, 1).round(COSINE_DIGITS), truths.ravel()
    error = _cross_fitted_error(scores, truths, in_first_half(row_clusters))
    knots, probabilities = _reduce_knots(*_isotonic(scores, truths))
    return Calibration(tuple(knots.tolist()), tuple(probabilities.tolist()), error, len(scores))


def expected_calibration_error(probabilities: npt.ArrayLike, same: npt.ArrayLike, bins: int = BINS) -> float:
    """Return the sum over bins of (share of the pairs in it) * |mean probability - share that is the same|.

    M. P. Naeini, G. F. Cooper and M. Hauskrecht, "Obtaining Well Calibrated Probabilities Using Bayesian Binning", AAAI
    2015, with bins of equal mass instead of equal width, which is less biased (R. Roelofs and others, "Mitigating Bias
    in Calibration Error Estimation", AISTATS 2022). Equal probabilities stay in one bin.
    """
    predicted, truths = np.asarray(probabilities, np.float64).ravel(), np.asarray(same, np.float64).ravel()
    borders = np.quantile(predicted, np.arange(1, bins) / bins)
    bin_numbers = np.searchsorted(borders, predicted, side="left")
    errors = np.bincount(bin_numbers, weights=predicted - truths, minlength=bins)  # the sum in each bin
    return float(np.abs(errors).sum() / len(predicted))


def in_first_half(clusters: npt.NDArray[np.generic]) -> Bools:
    """Return which rows (n) belong to a random half of the clusters. Raises `CalibrationError` for fewer than two."""
    distinct = np.unique(clusters)
    if len(distinct) < 2:
        raise CalibrationError("A calibration needs pairs of at least two clusters.", code="calibration_one_cluster")
    chosen = np.random.default_rng(SEED).permutation(distinct)[: len(distinct) // 2]
    return np.isin(clusters, chosen)


def _cross_fitted_error(scores: Doubles, truths: Bools, first: Bools) -> float:
    predicted = np.empty(len(scores))
    for fitted, held_out in ((first, ~first), (~first, first)):
        predicted[held_out] = np.interp(scores[held_out], *_reduce_knots(*_isotonic(scores[fitted], truths[fitted])))
    return round(expected_calibration_error(predicted, truths), 5)


def _isotonic(scores: Doubles, truths: Bools) -> tuple[Doubles, Doubles]:
    """Return the knots (cosines, probabilities) of the isotonic fit."""
    if truths.all() or not truths.any():
        raise CalibrationError(
            "A calibration needs pairs of the same garment and pairs of different garments.",
            code="calibration_one_sided",
        )
    from sklearn.isotonic import IsotonicRegression

    fit = IsotonicRegression(y_min=0, y_max=1).fit(scores, truths.astype(np.float64))
    return fit.X_thresholds_, fit.y_thresholds_


def _reduce_knots(cosines: Doubles, probabilities: Doubles) -> tuple[Doubles, Doubles]:
    """Drop knots until `MAX_KNOTS` are left, each time the inner knot closest to the line between its neighbours."""
    probabilities = probabilities.round(PROBABILITY_DIGITS)
    while len(cosines) > 2:
        share = (cosines[1:-1] - cosines[:-2]) / (cosines[2:] - cosines[:-2])
        line = probabilities[:-2] + share * (probabilities[2:] - probabilities[:-2])
        losses = np.abs(line - probabilities[1:-1])
        least = int(np.argmin(losses))
        if len(cosines) <= MAX_KNOTS and losses[least] > 0:
            break
        cosines, probabilities = np.delete(cosines, least + 1), np.delete(probabilities, least + 1)
    return cosines, probabilities
