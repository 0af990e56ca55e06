import warnings

import numpy as np
import pytest

from ml.evaluation.intervals import (
    SEED,
    Estimate,
    Metric,
    QueryScores,
    card_metrics,
    estimate_metrics,
    nan_mean,
    percentile_interval,
    resample_means,
)

NAN = np.nan


def estimate_of(scores, clusters, resamples=200):
    """The estimate of one metric, the mean of `scores`."""
    metric = Metric.mean_of(np.array(scores, dtype=np.float64))
    return estimate_metrics(QueryScores(np.array(clusters), {"metric": metric}), resamples).get("metric")


def means_by_a_loop(columns, clusters, resamples):
    """The same draws, with a copy of every query of a drawn cluster."""
    rng = np.random.default_rng(SEED)
    distinct = sorted({cluster for cluster, row in zip(clusters, columns, strict=True) if not np.isnan(row).all()})
    means = []
    for _ in range(resamples):
        drawn = [distinct[at] for at in rng.integers(0, len(distinct), len(distinct))]
        rows = np.concatenate([columns[clusters == cluster] for cluster in drawn])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the mean of no values is NaN, as intended
            means.append(np.nanmean(rows, axis=0))
    return np.array(means)


def some_columns(seed=0, n=80):
    rng = np.random.default_rng(seed)
    columns = rng.random((n, 3))
    columns[rng.random((n, 3)) < 0.2] = NAN
    columns[:, 2] = np.where(np.arange(n) < 2, 0.5, NAN)  # few queries contribute
    return columns, rng.integers(0, 9, n)


# --- resampling


@pytest.mark.parametrize("seed", range(3))
def test_resampled_means_agree_with_copying_the_drawn_queries(seed):
    columns, clusters = some_columns(seed)
    assert resample_means(columns, clusters, 40) == pytest.approx(means_by_a_loop(columns, clusters, 40), nan_ok=True)


def test_a_column_without_drawn_queries_is_nan_in_that_resample():
    columns, clusters = some_columns()
    unknown = np.isnan(resample_means(columns, clusters, 100))
    assert 0 < unknown[:, 2].sum() < 100
    assert not unknown[:, :2].any()


def test_the_draws_do_not_depend_on_the_blocks(monkeypatch):
    columns, clusters = some_columns()
    whole = resample_means(columns, clusters, 50)
    monkeypatch.setattr("ml.evaluation.intervals.BLOCK_WEIGHTS", 7 * 9)
    assert resample_means(columns, clusters, 50) == pytest.approx(whole, nan_ok=True)


def test_the_numbers_of_the_clusters_do_not_matter():
    columns, clusters = some_columns()
    assert np.array_equal(
        resample_means(columns, clusters, 20), resample_means(columns, clusters * 1000 - 5, 20), equal_nan=True
    )


def test_the_same_queries_give_the_same_interval():
    columns, clusters = some_columns()
    assert estimate_of(columns[:, 0], clusters) == estimate_of(columns[:, 0], clusters)


# --- estimates


def test_the_value_is_the_mean_of_the_contributing_queries():
    estimate = estimate_of([1, 0, NAN, 1], [0, 0, 1, 2])
    assert estimate.value == pytest.approx(2 / 3)
    assert estimate.queries == 3
    assert estimate.low <= estimate.value <= estimate.high


def test_equal_clusters_give_an_interval_of_width_zero():
    estimate = estimate_of([1, 0, 0] * 12, np.repeat(np.arange(12), 3))
    assert (estimate.value, estimate.low, estimate.high) == pytest.approx((1 / 3, 1 / 3, 1 / 3))


def test_a_single_contributor_gives_no_interval():
    estimate = estimate_of([1, 0, 1, NAN], [4, 4, 4, 5])
    assert estimate.value == pytest.approx(2 / 3)
    assert np.isnan([estimate.low, estimate.high]).all()


def test_a_metric_without_queries_is_left_out():
    assert estimate_of([NAN, NAN], [0, 1]) is None
    assert estimate_of([], []) is None


def test_two_clusters_can_be_worked_out_by_hand():
    """The two resamples that draw one cluster twice have a probability of 1/4 each, so they are the ends."""
    estimate = estimate_of([0, 1], [0, 1], resamples=1000)
    assert (estimate.low, estimate.value, estimate.high) == (0, 0.5, 1)


def test_clusters_are_weighted_by_their_queries():
    """Contributor 0 has three right photos and contributor 1 one wrong photo: drawn once each, the mean is 3/4."""
    columns = np.array([[1.0], [1.0], [1.0], [0.0]])
    means = resample_means(columns, np.array([0, 0, 0, 1]), 200)
    assert set(means[:, 0].tolist()) == {0.0, 0.75, 1.0}


def test_similar_photos_of_few_contributors_make_the_interval_wider():
    """Forty queries of eight contributors with equal photos hold no more information than eight queries."""
    scores = np.repeat([1, 1, 0, 1, 0, 1, 1, 0], 5)
    clustered, alone = estimate_of(scores, np.repeat(np.arange(8), 5)), estimate_of(scores, np.arange(40))
    assert clustered.high - clustered.low > 1.8 * (alone.high - alone.low)


def test_the_coverage_of_the_interval_is_about_95_percent():
    """Synthetic contributors of mean 0.6, each with photos around a level of its own; 200 experiments."""
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(200):
        levels = rng.normal(0.6, 0.2, size=60)
        sizes = rng.integers(1, 12, size=60)
        clusters = np.repeat(np.arange(60), sizes)
        estimate = estimate_of(levels[clusters] + rng.normal(0, 0.1, size=len(clusters)), clusters)
        covered += estimate.low <= 0.6 <= estimate.high
    assert 0.89 <= covered / 200 <= 0.985


def test_an_interval_that_ignored_the_contributors_would_have_too_little_coverage():
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(100):
        scores = np.repeat(rng.normal(0.6, 0.2, size=20), 10)
        estimate = estimate_of(scores, np.arange(200))
        covered += estimate.low <= 0.6 <= estimate.high
    assert covered / 100 < 0.7


def test_unknown_numbers_are_left_out_of_a_card():
    estimate = {"known": Estimate(0.123456, 0.1, 0.2, 9), "single": Estimate(0.5, NAN, NAN, 1)}
    assert card_metrics(estimate) == {"known": 0.1235, "known_low": 0.1, "known_high": 0.2, "single": 0.5}


# --- metrics of several columns


def test_a_macro_average_is_the_mean_of_the_means():
    columns = np.array([[1, NAN], [1, NAN], [0, NAN], [NAN, 0.5], [NAN, NAN]])
    scores = QueryScores(np.arange(5), {"macro": Metric(columns)})
    estimate = estimate_metrics(scores, 100)["macro"]
    assert estimate.value == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert estimate.queries == 4


def test_a_metric_may_combine_its_columns_by_a_function():
    columns = np.array([[0.5, -0.25], [0.5, -0.75]])
    scores = QueryScores(np.array([0, 0]), {"sizes": Metric(columns, lambda means: np.abs(means).sum(axis=-1))})
    assert estimate_metrics(scores, 10)["sizes"].value == pytest.approx(1.0)


def test_a_subset_keeps_scores_and_clusters_together():
    columns, clusters = some_columns()
    mask = np.arange(80) % 3 == 0
    part = QueryScores(clusters, {"metric": Metric(columns)}).subset(mask)
    assert np.array_equal(part.clusters, clusters[mask])
    assert (
        estimate_metrics(part, 50)["metric"]
        == estimate_metrics(QueryScores(clusters[mask], {"metric": Metric(columns[mask])}), 50)["metric"]
    )


# --- NaN


def test_the_mean_ignores_nan_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        means = nan_mean(np.array([[1.0, NAN, 3.0], [NAN, NAN, NAN]]))
    assert means.tolist() == pytest.approx([2.0, NAN], nan_ok=True)


def test_an_interval_ignores_nan():
    draws = np.concatenate([np.linspace(0, 1, 41), [NAN] * 100])
    assert percentile_interval(draws) == pytest.approx((0.025, 0.975))
    assert np.isnan(percentile_interval(np.array([NAN, NAN]))).all()
