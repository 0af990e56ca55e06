"""Match confidence: the formula, the fit and its error rates."""

from dataclasses import replace

import numpy as np
import pytest

from ml.scoring.calibration import CalibrationError
from ml.scoring.match_confidence import CLOSE_MATCH, OTHERS, MatchConfidence, MatchConfidenceError, fit_match_confidence
from ml.vectors import unit_rows
from tests.helpers.errors import raises_code

CONFIDENCE = MatchConfidence(-2.0, 3.0, 4.0, false_negative_rate=0.1, true_negative_rate=0.9, queries=500)


def gallery_and_queries(items: int = 120, noise: float = 0.35, seed: int = 0):
    """Return two photos of each item near its direction, a query near each direction, and clusters of three queries."""
    rng = np.random.default_rng(seed)
    directions = rng.normal(size=(items, 16))
    gallery = unit_rows(np.repeat(directions, 2, axis=0) + noise * rng.normal(size=(2 * items, 16)))
    queries = unit_rows(directions + noise * rng.normal(size=(items, 16)))
    numbers = np.arange(items)
    return queries, gallery, numbers, np.repeat(numbers, 2), numbers // 3


def test_the_probability_equals_the_formula():
    # 0.8 is 0.3 above the mean of 0.6 and 0.4: -2 + 3 * 0.8 + 4 * 0.3 = 1.6
    assert CONFIDENCE.probability(0.8, [0.6, 0.4]) == pytest.approx(1 / (1 + np.exp(-1.6)))


def test_only_the_nearest_other_items_count():
    others = [0.5] * OTHERS
    assert CONFIDENCE.probability(0.8, [*others, -1.0]) == CONFIDENCE.probability(0.8, others)


def test_a_single_item_has_no_probability():
    assert CONFIDENCE.probability(0.8, []) is None


def test_a_fit_separates_searches_with_the_garment_from_those_without():
    confidence = fit_match_confidence(*gallery_and_queries())
    assert confidence.queries == 120
    assert confidence.false_negative_rate < 0.15
    assert confidence.true_negative_rate > 0.85
    assert confidence.lead > 0
    assert (
        confidence.probability(0.9, [0.3] * OTHERS) > 0.9 > CLOSE_MATCH > confidence.probability(0.5, [0.49] * OTHERS)
    )


def test_the_rates_hold_on_new_searches():
    confidence = fit_match_confidence(*gallery_and_queries(items=600))
    queries, gallery, items, _, _ = gallery_and_queries(items=600, seed=1)
    false_negatives, true_negatives = [], []
    for query, item in zip(queries, items, strict=True):
        scores = (gallery @ query).reshape(-1, 2).max(axis=1)  # one slot per item
        best, *others = -np.sort(-scores)
        if best == scores[item]:
            false_negatives.append(confidence.probability(best, others) < CLOSE_MATCH)
        best, *others = -np.sort(-np.delete(scores, item))
        true_negatives.append(confidence.probability(best, others) < CLOSE_MATCH)
    assert np.mean(false_negatives) == pytest.approx(confidence.false_negative_rate, abs=0.04)
    assert np.mean(true_negatives) == pytest.approx(confidence.true_negative_rate, abs=0.04)


def test_the_same_searches_give_the_same_fit():
    assert fit_match_confidence(*gallery_and_queries()) == fit_match_confidence(*gallery_and_queries())


def test_a_small_gallery_is_refused():
    with raises_code(MatchConfidenceError, "match_confidence_small_gallery", 11):
        fit_match_confidence(*gallery_and_queries(items=10))


def test_searches_that_are_all_wrong_are_refused():
    queries, gallery, items, gallery_items, clusters = gallery_and_queries()
    with raises_code(MatchConfidenceError, "match_confidence_one_sided"):
        fit_match_confidence(queries, gallery, items + 1000, gallery_items, clusters)


def test_a_single_cluster_is_refused():
    queries, gallery, items, gallery_items, clusters = gallery_and_queries()
    with pytest.raises(CalibrationError):
        fit_match_confidence(queries, gallery, items, gallery_items, np.zeros_like(clusters))


@pytest.mark.parametrize(
    "change",
    [
        {"intercept": float("nan")},
        {"lead": float("inf")},
        {"false_negative_rate": 1.1},
        {"true_negative_rate": -0.1},
        {"queries": 5.0},
    ],
)
def test_impossible_numbers_are_refused(change):
    with pytest.raises(MatchConfidenceError):
        replace(CONFIDENCE, **change)
