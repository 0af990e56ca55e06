"""Confidence intervals (95 %) of metrics, from scores per query, by a cluster bootstrap.

Photos of one contributor (or of one item) are similar, so queries are not independent; contributors are. A resample
draws as many contributors as there are, with replacement, and weights all queries of each by the number of its draws.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ml.evaluation.retrieval import Ints, Scores

SEED = 20
RESAMPLES = 1000
LEVEL = (0.025, 0.975)
MIN_CLUSTERS = 2
"""With one contributor all resamples are equal: the interval would have the width 0."""

BLOCK_WEIGHTS = 1 << 22
"""Weights held at a time, resamples times clusters: 32 MiB of float64."""


def nan_mean(values: Scores) -> Scores:
    """Return the mean over the last axis without NaN; NaN for a row of NaN alone. (np.nanmean would warn.)"""
    valid = ~np.isnan(values)
    count = valid.sum(axis=-1)
    total = np.where(valid, values, 0.0).sum(axis=-1)
    mean: Scores = np.divide(total, count, out=np.full(count.shape, np.nan), where=count > 0)
    return mean


@dataclass(frozen=True)
class Metric:
    """A metric as its contributions per query: columns (q, f), whose means `combine` turns into one number.

    NaN: the query does not contribute to that column. Most metrics are the mean of one column; a macro average is the
    mean of one column per label, each averaged first. `combine` maps means (..., f) to metrics (...).
    """

    columns: Scores
    combine: Callable[[Scores], Scores] = nan_mean

    @classmethod
    def mean_of(cls, scores: Scores) -> "Metric":
        """Return the metric that is the mean of one score per query (q,)."""
        return cls(scores[:, None])


@dataclass(frozen=True)
class QueryScores:
    """Metrics over the same queries. `clusters` (q,): the cluster (owner) of each query."""

    clusters: Ints
    metrics: Mapping[str, Metric]

    def subset(self, mask: npt.NDArray[np.bool_]) -> "QueryScores":
        """Return the same metrics over the queries in `mask` (q,)."""
        metrics = {name: Metric(metric.columns[mask], metric.combine) for name, metric in self.metrics.items()}
        return QueryScores(self.clusters[mask], metrics)


@dataclass(frozen=True)
class Estimate:
    """A metric, its 95 % interval (NaN for fewer than two clusters) and the number of queries that contribute."""

    value: float
    low: float
    high: float
    queries: int


def estimate_metrics(scores: QueryScores, resamples: int = RESAMPLES) -> dict[str, Estimate]:
    """Return each metric with its interval, without metrics to which no query contributes.

    Only clusters that contribute to a metric are drawn: for a rare label, the contributors with that label. The
    same queries give the same intervals: the seed is fixed.
    """
    estimates = {}
    for name, metric in scores.metrics.items():
        contributes = ~np.isnan(metric.columns).all(axis=1)
        if contributes.any():
            value = float(metric.combine(nan_mean(metric.columns.T)))
            draws = metric.combine(resample_means(metric.columns, scores.clusters, resamples))
            estimates[name] = Estimate(value, *percentile_interval(draws), int(contributes.sum()))
    return estimates


def card_metrics(estimates: Mapping[str, Estimate]) -> dict[str, float]:
    """Return each metric with its `_low` and `_high` for a card, rounded to four digits, without unknown numbers."""
    values: dict[str, float] = {}
    for name, estimate in estimates.items():
        values |= {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
    return {name: round(value, 4) for name, value in values.items() if not np.isnan(value)}


def resample_means(columns: Scores, clusters: Ints, resamples: int, seed: int = SEED) -> Scores:
    """Return the mean of each column (q, f) in each resample, (resamples, f); NaN if none of its queries was drawn.

    Rows of NaN alone are left out. All means are NaN if fewer than two clusters remain.
    """
    valid = ~np.isnan(columns)
    contributing = valid.any(axis=1)
    valid, columns = valid[contributing], columns[contributing]
    distinct, cluster = np.unique(clusters[contributing], return_inverse=True)
    means = np.full((resamples, columns.shape[1]), np.nan)
    if len(distinct) < MIN_CLUSTERS:
        return means
    sums, counts = (
        _cluster_sums(np.where(valid, columns, 0.0), cluster),
        _cluster_sums(valid.astype(np.float64), cluster),
    )
    rng = np.random.default_rng(seed)
    size = max(1, BLOCK_WEIGHTS // len(distinct))
    for start in range(0, resamples, size):
        block = means[start : start + size]
        weights = np.stack([_draw_counts(rng, len(distinct)) for _ in block])
        drawn = weights @ counts
        np.divide(weights @ sums, drawn, out=block, where=drawn > 0)
    return means


def percentile_interval(draws: Scores) -> tuple[float, float]:
    """Return the 2.5th and the 97.5th percentile of the resamples (r,), without NaN."""
    finite = draws[~np.isnan(draws)]
    low, high = np.quantile(finite, LEVEL) if len(finite) else (np.nan, np.nan)
    return float(low), float(high)


def _draw_counts(rng: np.random.Generator, clusters: int) -> Scores:
    """Return how often each cluster is drawn in one resample (clusters,)."""
    return np.bincount(rng.integers(0, clusters, clusters), minlength=clusters).astype(np.float64)


def _cluster_sums(values: Scores, cluster: Ints) -> Scores:
    """Return the sum of each column of `values` (q, f) by cluster, (clusters, f)."""
    return np.stack([np.bincount(cluster, column) for column in values.T], axis=1)
