"""Calibration of cosines: the curve, the pairs of a search, the fit and its error."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from ml.formats.errors import InputError
from ml.scoring.calibration import (
    MAX_KNOTS,
    Calibration,
    CalibrationError,
    expected_calibration_error,
    fit_calibration,
    search_pairs,
)
from ml.vectors import unit_rows

CURVE = Calibration((0.2, 0.6, 0.8), (0.0, 0.5, 0.9), 0.02, 1000)


def drawn_pairs(queries: int, k: int = 5, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cosines, truths and clusters of pairs that are the same with the probability cosine^2."""
    rng = np.random.default_rng(seed)
    cosines = rng.uniform(0, 1, size=(queries, k))
    return cosines, rng.uniform(size=(queries, k)) < cosines**2, np.arange(queries) // 3


# --- the curve


def test_the_curve_is_linear_between_its_knots_and_constant_outside():
    cosines = [-1.0, 0.2, 0.4, 0.6, 0.7, 0.8, 1.0]
    assert CURVE.probability(cosines) == pytest.approx(np.array([0, 0, 0.25, 0.5, 0.7, 0.9, 0.9]))
    assert CURVE.probability([[0.4], [0.6]]).shape == (2, 1)
    assert CURVE.probability(0.6).dtype == np.float32


def test_one_knot_is_a_constant():
    assert Calibration((0.5,), (0.3,), 0.0, 2).probability([-1, 1]) == pytest.approx(np.array([0.3, 0.3]))


@pytest.mark.parametrize(
    "change",
    [
        {"cosines": ()},
        {"cosines": (0.2, 0.6)},
        {"cosines": (0.2, 0.2, 0.8)},
        {"cosines": (0.2, 0.8, 0.6)},
        {"cosines": (-1.1, 0.6, 0.8)},
        {"cosines": (0.2, float("nan"), 0.8)},
        {"probabilities": (0.0, 0.9, 0.5)},
        {"probabilities": (0.0, 0.5, 1.1)},
        {"probabilities": (-0.1, 0.5, 0.9)},
        {"probabilities": (0.0, float("nan"), 0.9)},
        {"expected_calibration_error": -0.1},
        {"expected_calibration_error": float("nan")},
        {"pairs": 0},
        {"pairs": 2.5},
        {"pairs": True},
    ],
)
def test_an_invalid_curve_is_refused(change):
    with pytest.raises(InputError):
        replace(CURVE, **change)


def test_a_curve_with_too_many_knots_is_refused():
    knots = tuple(np.linspace(0, 1, MAX_KNOTS + 1).tolist())
    with pytest.raises(CalibrationError):
        Calibration(knots, knots, 0.0, 100)


# --- the pairs of a search


def test_search_pairs_equal_a_loop_over_all_photos():
    rng = np.random.default_rng(0)
    queries, gallery = unit_rows(rng.normal(size=(7, 4))), unit_rows(rng.normal(size=(30, 4)))
    query_items, gallery_items = rng.integers(0, 4, 7), rng.integers(0, 4, 30)
    cosines, same = search_pairs(queries, gallery, query_items, gallery_items, k=6)
    for query in range(7):
        scores = [float(queries[query] @ row) for row in gallery]
        nearest = sorted(range(30), key=lambda row: -scores[row])[:6]
        assert cosines[query] == pytest.approx(np.array([scores[row] for row in nearest]), abs=1e-6)
        assert same[query].tolist() == [gallery_items[row] == query_items[query] for row in nearest]


def test_chunks_do_not_change_the_pairs(monkeypatch):
    rng = np.random.default_rng(0)
    queries, gallery = unit_rows(rng.normal(size=(11, 4))), unit_rows(rng.normal(size=(9, 4)))
    items = rng.integers(0, 4, 11), rng.integers(0, 4, 9)
    whole = search_pairs(queries, gallery, *items, k=3)
    monkeypatch.setattr("ml.scoring.calibration.CHUNK_ROWS", 4)
    for one, other in zip(whole, search_pairs(queries, gallery, *items, k=3), strict=True):
        assert one == pytest.approx(other)


def test_a_small_gallery_returns_all_its_rows():
    gallery = unit_rows(np.eye(3))
    cosines, same = search_pairs(gallery[:1], gallery, np.array([5]), np.array([5, 5, 6]), k=20)
    assert cosines.tolist() == [[1.0, 0.0, 0.0]]
    assert same.tolist() == [[True, True, False]]


# --- the fit


def isotonic_by_pooling(truths: list[float]) -> list[float]:
    """Pool adjacent violators of a sequence until none is left; the cosines here all differ."""
    blocks = [[truth] for truth in truths]
    while True:
        means = [sum(block) / len(block) for block in blocks]
        falls = [at for at, (one, other) in enumerate(itertools.pairwise(means)) if one > other]
        if not falls:
            return [mean for block, mean in zip(blocks, means, strict=True) for _ in block]
        blocks[falls[0] : falls[0] + 2] = [blocks[falls[0]] + blocks[falls[0] + 1]]


def test_the_fit_equals_the_pool_adjacent_violators_algorithm():
    cosines = np.linspace(0.1, 0.9, 40).round(3)
    truths = np.random.default_rng(3).uniform(size=40) < cosines
    curve = fit_calibration(cosines, truths, np.arange(40))
    assert curve.probability(cosines) == pytest.approx(np.array(isotonic_by_pooling(truths.tolist())), abs=1e-4)
    assert curve.pairs == 40


def test_the_fit_recovers_the_curve_of_the_pairs():
    curve = fit_calibration(*drawn_pairs(4000))
    cosines = np.linspace(0.1, 0.95, 30)
    assert np.abs(curve.probability(cosines) - cosines**2).max() < 0.06
    assert curve.pairs == 20_000
    assert curve.expected_calibration_error < 0.02


def test_the_reduced_curve_is_close_to_the_whole_fit():
    from sklearn.isotonic import IsotonicRegression

    cosines, same, clusters = drawn_pairs(4000)
    curve = fit_calibration(cosines, same, clusters)
    whole = IsotonicRegression().fit(cosines.ravel(), same.ravel().astype(float))
    assert len(whole.X_thresholds_) > MAX_KNOTS >= len(curve.cosines) > 2
    places = np.linspace(0.02, 0.98, 200)
    assert np.abs(curve.probability(places) - whole.predict(places)).mean() < 0.01


def test_knots_on_a_straight_line_are_dropped():
    curve = fit_calibration([0.1, 0.2, 0.3, 0.4, 0.5, 0.6], [False] * 3 + [True] * 3, [0, 1, 2, 0, 1, 2])
    assert curve.cosines == (0.1, 0.3, 0.4, 0.6)
    assert curve.probabilities == (0.0, 0.0, 1.0, 1.0)


def test_the_calibration_error_is_cross_fitted():
    """The truth depends on the cluster, not on the cosine: on its own pairs the curve would look good."""
    rng = np.random.default_rng(0)
    clusters = np.repeat(np.arange(40), 5)
    cosines = rng.uniform(size=200)
    same = rng.uniform(size=40)[clusters] < 0.5
    curve = fit_calibration(cosines, same, clusters)
    own = expected_calibration_error(curve.probability(cosines), same)
    assert curve.expected_calibration_error > own + 0.02


def test_the_same_pairs_give_the_same_calibration():
    assert fit_calibration(*drawn_pairs(100)) == fit_calibration(*drawn_pairs(100))


@pytest.mark.parametrize(
    ("cosines", "same", "clusters"),
    [
        ([0.1, 0.2], [True, True], [0, 1]),
        ([0.1, 0.2], [False, False], [0, 1]),
        ([0.1, 0.2], [True, False], [0, 0]),
        ([0.1, 0.2], [True], [0, 1]),
        ([0.1, 0.2], [True, False], [0]),
        ([0.1, float("nan")], [True, False], [0, 1]),
        ([], [], []),
    ],
)
def test_pairs_that_cannot_be_fitted_are_refused(cosines, same, clusters):
    with pytest.raises(CalibrationError):
        fit_calibration(cosines, same, clusters)


# --- the error of a calibration


def error_by_loop(probabilities: list[float], same: list[bool], bins: int) -> float:
    """Compute the error for distinct probabilities whose number is a multiple of the bins."""
    order = sorted(range(len(same)), key=lambda at: probabilities[at])
    size = len(same) // bins
    error = 0.0
    for start in range(0, len(same), size):
        rows = order[start : start + size]
        guess = sum(probabilities[at] for at in rows) / size
        truth = sum(same[at] for at in rows) / size
        error += size / len(same) * abs(guess - truth)
    return error


def test_the_calibration_error_equals_a_loop_over_the_bins():
    rng = np.random.default_rng(0)
    probabilities, same = rng.uniform(size=60).tolist(), (rng.uniform(size=60) < 0.5).tolist()
    assert expected_calibration_error(probabilities, same, 5) == pytest.approx(error_by_loop(probabilities, same, 5))


def test_the_calibration_error_of_small_examples():
    assert expected_calibration_error([0.5, 0.5], [True, False]) == 0  # one bin, half of it right
    assert expected_calibration_error([0.9, 0.9, 0.9, 0.9], [False] * 4) == pytest.approx(0.9)
    assert expected_calibration_error([0.0, 0.0, 1.0, 1.0], [False, False, True, True], 2) == 0
    assert expected_calibration_error([0.2, 0.2, 0.8, 0.8], [False, False, True, True], 2) == pytest.approx(0.2)


def test_the_calibration_error_does_not_depend_on_the_order():
    rng = np.random.default_rng(0)
    probabilities, same = rng.integers(0, 4, 50) / 4, rng.uniform(size=50) < 0.5
    order = rng.permutation(50)
    assert expected_calibration_error(probabilities, same) == pytest.approx(
        expected_calibration_error(probabilities[order], same[order])
    )
