from dataclasses import replace

import numpy as np
import pytest

from ml.scoring.calibration import CalibrationError
from ml.scoring.match_confidence import CLOSE_MATCH, OTHERS, MatchConfidence, MatchConfidenceError, fit_match_confidence
from ml.vectors import unit_rows
from tests.helpers.errors import raises_code

CERTAIN = MatchConfidence(-2.0, 3.0, 4.0, false_negative_rate=0.1, true_negative_rate=0.9, queries=500)


def gallery_and_queries(items: int = 120, noise: float = 0.35, seed: int = 0):
    """Two photos of each item near its own direction, and a query near that of each; clusters of three queries."""
    rng = np.random.default_rng(seed)
    directions = rng.normal(size=(items, 16))
    gallery = unit_rows(np.repeat(directions, 2, axis=0) + noise * rng.normal(size=(2 * items, 16)))
    queries = unit_rows(directions + noise * rng.normal(size=(items, 16)))
    numbers = np.arange(items)
    return queries, gallery, numbers, np.repeat(numbers, 2), numbers // 3


def test_the_probability_is_that_of_the_formula():
    # 0.8 is 0.3 above the mean of 0.6 and 0.4: -2 + 3 * 0.8 + 4 * 0.3 = 1.6
    assert CERTAIN.probability(0.8, [0.6, 0.4]) == pytest.approx(1 / (1 + np.exp(-1.6)))


def test_only_the_nearest_others_count():
    others = [0.5] * OTHERS
    assert CERTAIN.probability(0.8, [*others, -1.0]) == CERTAIN.probability(0.8, others)


def test_an_item_that_is_alone_does_not_stand_out():
    assert CERTAIN.probability(0.8, []) is None


def test_a_fit_tells_searches_with_the_garment_from_those_without():
    certain = fit_match_confidence(*gallery_and_queries())
    assert certain.queries == 120
    assert certain.false_negative_rate < 0.15
    assert certain.true_negative_rate > 0.85
    assert certain.lead > 0
    assert certain.probability(0.9, [0.3] * OTHERS) > 0.9 > CLOSE_MATCH > certain.probability(0.5, [0.49] * OTHERS)


def test_the_shares_are_what_the_fit_does_to_searches_it_has_not_seen():
    certain = fit_match_confidence(*gallery_and_queries(items=600))
    queries, gallery, items, _, _ = gallery_and_queries(items=600, seed=1)
    false_negatives, true_negatives = [], []
    for query, item in zip(queries, items, strict=True):
        scores = (gallery @ query).reshape(-1, 2).max(axis=1)  # one slot per item
        best, *others = -np.sort(-scores)
        if best == scores[item]:
            false_negatives.append(certain.probability(best, others) < CLOSE_MATCH)
        best, *others = -np.sort(-np.delete(scores, item))
        true_negatives.append(certain.probability(best, others) < CLOSE_MATCH)
    assert np.mean(false_negatives) == pytest.approx(certain.false_negative_rate, abs=0.04)
    assert np.mean(true_negatives) == pytest.approx(certain.true_negative_rate, abs=0.04)


def test_the_same_searches_give_the_same_fit():
    assert fit_match_confidence(*gallery_and_queries()) == fit_match_confidence(*gallery_and_queries())


def test_a_gallery_of_few_items_has_no_lead():
    with raises_code(MatchConfidenceError, "match_confidence_small_gallery", 11):
        fit_match_confidence(*gallery_and_queries(items=10))


def test_searches_that_are_never_right_teach_nothing():
    queries, gallery, items, gallery_items, clusters = gallery_and_queries()
    with raises_code(MatchConfidenceError, "match_confidence_one_sided"):
        fit_match_confidence(queries, gallery, items + 1000, gallery_items, clusters)


def test_one_cluster_cannot_judge_itself():
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
        replace(CERTAIN, **change)
