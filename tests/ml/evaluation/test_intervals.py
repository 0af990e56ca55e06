import warnings

import numpy as np
import pytest

from ml.evaluation.intervals import (
    SEED,
    Estimate,
    Figure,
    Scored,
    estimates,
    for_a_card,
    interval,
    mean_of_known,
    resampled_means,
)

NAN = np.nan


def of(scores, clusters, resamples=200, **figures):
    """The estimate of one figure, the mean of `scores`."""
    scored = Scored(np.array(clusters), {"it": Figure.of_queries(np.array(scores, dtype=np.float64)), **figures})
    return estimates(scored, resamples).get("it")


def means_by_a_loop(columns, clusters, resamples):
    """The same draws, but every query of a drawn cluster is copied out."""
    rng = np.random.default_rng(SEED)
    kept = sorted({cluster for cluster, row in zip(clusters, columns, strict=True) if not np.isnan(row).all()})
    means = []
    for _ in range(resamples):
        drawn = [kept[at] for at in rng.integers(0, len(kept), len(kept))]
        rows = np.concatenate([columns[clusters == cluster] for cluster in drawn])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a mean over nothing is NaN, and is meant to be
            means.append(np.nanmean(rows, axis=0))
    return np.array(means)


def some_columns(seed=0, n=80):
    rng = np.random.default_rng(seed)
    columns = rng.random((n, 3))
    columns[rng.random((n, 3)) < 0.2] = NAN
    columns[:, 2] = np.where(np.arange(n) < 2, 0.5, NAN)  # known to very few
    return columns, rng.integers(0, 9, n)


# --- resampling


@pytest.mark.parametrize("seed", range(3))
def test_resampled_means_agree_with_copying_the_drawn_queries_out(seed):
    columns, clusters = some_columns(seed)
    assert resampled_means(columns, clusters, 40) == pytest.approx(means_by_a_loop(columns, clusters, 40), nan_ok=True)


def test_a_column_of_which_nothing_was_drawn_is_unknown_in_that_resample():
    columns, clusters = some_columns()
    unknown = np.isnan(resampled_means(columns, clusters, 100))
    assert 0 < unknown[:, 2].sum() < 100
    assert not unknown[:, :2].any()


def test_the_draws_do_not_depend_on_the_blocks(monkeypatch):
    columns, clusters = some_columns()
    whole = resampled_means(columns, clusters, 50)
    monkeypatch.setattr("ml.evaluation.intervals.BLOCK_WEIGHTS", 7 * 9)
    assert resampled_means(columns, clusters, 50) == pytest.approx(whole, nan_ok=True)


def test_the_numbers_of_the_clusters_do_not_matter():
    columns, clusters = some_columns()
    assert np.array_equal(
        resampled_means(columns, clusters, 20), resampled_means(columns, clusters * 1000 - 5, 20), equal_nan=True
    )


def test_the_same_queries_give_the_same_interval():
    columns, clusters = some_columns()
    assert of(columns[:, 0], clusters) == of(columns[:, 0], clusters)


# --- estimates


def test_the_value_is_the_mean_of_the_queries_that_say_something():
    found = of([1, 0, NAN, 1], [0, 0, 1, 2])
    assert found.value == pytest.approx(2 / 3)
    assert found.queries == 3
    assert found.low <= found.value <= found.high


def test_with_all_clusters_alike_the_interval_is_a_point():
    found = of([1, 0, 0] * 12, np.repeat(np.arange(12), 3))
    assert (found.value, found.low, found.high) == pytest.approx((1 / 3, 1 / 3, 1 / 3))


def test_one_contributor_is_no_ground_for_an_interval():
    found = of([1, 0, 1, NAN], [4, 4, 4, 5])
    assert found.value == pytest.approx(2 / 3)
    assert np.isnan([found.low, found.high]).all()


def test_a_figure_about_nothing_is_left_out():
    assert of([NAN, NAN], [0, 1]) is None
    assert of([], []) is None


def test_two_clusters_can_be_worked_out_by_hand():
    """Both resamples that draw one cluster twice have a chance of a quarter each, so they are the ends."""
    found = of([0, 1], [0, 1], resamples=1000)
    assert (found.low, found.value, found.high) == (0, 0.5, 1)


def test_large_clusters_count_by_their_queries():
    """Contributor 0 has three right photos and 1 a wrong one: drawn once each that is 3/4, not 1/2."""
    columns = np.array([[1.0], [1.0], [1.0], [0.0]])
    means = resampled_means(columns, np.array([0, 0, 0, 1]), 200)
    assert set(means[:, 0].tolist()) == {0.0, 0.75, 1.0}


def test_alike_photos_of_few_contributors_make_the_interval_wider():
    """Forty queries of eight contributors, all photos of one contributor alike, say no more than eight queries."""
    scores = np.repeat([1, 1, 0, 1, 0, 1, 1, 0], 5)
    clustered, alone = of(scores, np.repeat(np.arange(8), 5)), of(scores, np.arange(40))
    assert clustered.high - clustered.low > 1.8 * (alone.high - alone.low)


def test_the_interval_holds_the_truth_about_as_often_as_it_says():
    """Synthetic contributors of mean 0.6, each with photos around a level of its own: 95 % of 200, give or take."""
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(200):
        levels = rng.normal(0.6, 0.2, size=60)
        sizes = rng.integers(1, 12, size=60)
        clusters = np.repeat(np.arange(60), sizes)
        found = of(levels[clusters] + rng.normal(0, 0.1, size=len(clusters)), clusters)
        covered += found.low <= 0.6 <= found.high
    assert 0.89 <= covered / 200 <= 0.985


def test_an_interval_that_ignored_the_contributors_would_miss_the_truth_too_often():
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(100):
        scores = np.repeat(rng.normal(0.6, 0.2, size=20), 10)
        found = of(scores, np.arange(200))
        covered += found.low <= 0.6 <= found.high
    assert covered / 100 < 0.7


def test_a_card_is_told_what_is_known():
    found = {"sure": Estimate(0.123456, 0.1, 0.2, 9), "alone": Estimate(0.5, NAN, NAN, 1)}
    assert for_a_card(found) == {"sure": 0.1235, "sure_low": 0.1, "sure_high": 0.2, "alone": 0.5}


# --- figures of several columns


def test_a_macro_average_is_the_mean_of_the_means():
    columns = np.array([[1, NAN], [1, NAN], [0, NAN], [NAN, 0.5], [NAN, NAN]])
    scored = Scored(np.arange(5), {"macro": Figure(columns)})
    found = estimates(scored, 100)["macro"]
    assert found.value == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert found.queries == 4


def test_the_columns_may_be_combined_otherwise():
    columns = np.array([[0.5, -0.25], [0.5, -0.75]])
    scored = Scored(np.array([0, 0]), {"sizes": Figure(columns, lambda means: np.abs(means).sum(axis=-1))})
    assert estimates(scored, 10)["sizes"].value == pytest.approx(1.0)


def test_a_choice_of_queries_keeps_figures_and_clusters_together():
    columns, clusters = some_columns()
    chosen = np.arange(80) % 3 == 0
    part = Scored(clusters, {"it": Figure(columns)}).of(chosen)
    assert np.array_equal(part.clusters, clusters[chosen])
    assert estimates(part, 50)["it"] == estimates(Scored(clusters[chosen], {"it": Figure(columns[chosen])}), 50)["it"]


# --- the small parts


def test_a_mean_leaves_out_what_is_unknown_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        means = mean_of_known(np.array([[1.0, NAN, 3.0], [NAN, NAN, NAN]]))
    assert means.tolist() == pytest.approx([2.0, NAN], nan_ok=True)


def test_an_interval_leaves_out_what_is_unknown():
    draws = np.concatenate([np.linspace(0, 1, 41), [NAN] * 100])
    assert interval(draws) == pytest.approx((0.025, 0.975))
    assert np.isnan(interval(np.array([NAN, NAN]))).all()
