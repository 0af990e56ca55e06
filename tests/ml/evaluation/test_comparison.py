import numpy as np
import pytest

from ml.evaluation.comparison import Difference, paired_differences
from ml.evaluation.intervals import Metric, QueryScores, estimate_metrics

NAN = np.nan


def scores_of(scores, clusters, name="metric"):
    return QueryScores(np.asarray(clusters), {name: Metric.mean_of(np.asarray(scores, dtype=np.float64))})


def difference(scores, other, clusters, resamples=400) -> Difference:
    return paired_differences(scores_of(scores, clusters), scores_of(other, clusters), resamples)["metric"]


def test_an_encoder_does_not_differ_from_itself():
    rng = np.random.default_rng(0)
    scores, clusters = rng.random(50), rng.integers(0, 8, 50)
    assert difference(scores, scores, clusters) == Difference(0.0, 0.0, 0.0, 0.0)


def test_the_same_difference_everywhere_has_an_interval_of_width_zero():
    rng = np.random.default_rng(0)
    scores, clusters = rng.random(50), rng.integers(0, 8, 50)
    result = difference(scores + 0.1, scores, clusters)
    assert (result.value, result.low, result.high, result.above_zero) == pytest.approx((0.1, 0.1, 0.1, 1.0))


def test_exchanging_the_encoders_changes_the_sign():
    rng = np.random.default_rng(2)
    scores, other, clusters = rng.random(60), rng.random(60), rng.integers(0, 9, 60)
    there, back = difference(scores, other, clusters), difference(other, scores, clusters)
    assert (back.value, back.low, back.high) == pytest.approx((-there.value, -there.high, -there.low))
    assert back.above_zero == pytest.approx(1 - there.above_zero)


def test_pairs_separate_encoders_whose_intervals_overlap():
    """Hard and easy contributors make both metrics uncertain, but one encoder is a little better for each of them."""
    rng = np.random.default_rng(3)
    level = np.repeat(rng.random(20), 6)
    clusters = np.repeat(np.arange(20), 6)
    scores, other = level + 0.05 + rng.normal(0, 0.02, 120), level + rng.normal(0, 0.02, 120)
    alone = [estimate_metrics(scores_of(values, clusters))["metric"] for values in (scores, other)]
    assert alone[1].high > alone[0].low  # they overlap
    assert difference(scores, other, clusters).low > 0.03


def test_the_difference_is_that_of_the_two_metrics():
    scores, other, clusters = [1, 0, NAN, 1], [0, 0, 1, NAN], [0, 1, 2, 3]
    assert difference(scores, other, clusters).value == pytest.approx(2 / 3 - 1 / 3)


def test_resamples_are_shared_between_the_two():
    """Two contributors, each right with one encoder: a resample gives +1, 0 or -1, with 0 half of the time."""
    result = difference([1, 0], [0, 1], [0, 1], resamples=1000)
    assert (result.value, result.low, result.high) == (0, -1, 1)
    assert 0.2 < result.above_zero < 0.3


def test_a_single_contributor_gives_a_difference_without_an_interval():
    result = difference([1, 1], [0, 1], [7, 7])
    assert result.value == pytest.approx(0.5)
    assert np.isnan([result.low, result.high, result.above_zero]).all()


def test_only_metrics_of_both_encoders_are_compared():
    assert paired_differences(scores_of([1.0], [0], "a"), scores_of([1.0], [0], "b")) == {}
    assert paired_differences(scores_of([NAN, NAN], [0, 1]), scores_of([NAN, NAN], [0, 1])) == {}


def test_macro_averages_are_compared_after_their_labels_are_averaged():
    clusters = np.array([0, 1, 2])
    scores = QueryScores(clusters, {"macro": Metric(np.array([[1, NAN], [0, NAN], [NAN, 1]]))})
    other = QueryScores(clusters, {"macro": Metric(np.array([[0, NAN], [0, NAN], [NAN, 1]]))})
    assert paired_differences(scores, other, 50)["macro"].value == pytest.approx(3 / 4 - 1 / 2)
