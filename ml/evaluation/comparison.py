"""Paired comparison of two encoders on the same queries, by a bootstrap of the difference."""

from dataclasses import dataclass

import numpy as np

from ml.evaluation.intervals import RESAMPLES, Metric, QueryScores, nan_mean, percentile_interval, resample_means


@dataclass(frozen=True)
class Difference:
    """A metric minus the other encoder's, the 95 % interval of the difference, and the share of resamples above zero.

    `low`, `high` and `above_zero` are NaN for fewer than two clusters.
    """

    value: float
    low: float
    high: float
    above_zero: float


def paired_differences(scores: QueryScores, other: QueryScores, resamples: int = RESAMPLES) -> dict[str, Difference]:
    """Return `scores` minus `other` for each metric that both have. Row i of both must be the same query.

    Each resample draws the same contributors for both encoders: photos that are hard for one encoder are usually hard
    for the other, so the interval of the difference is narrower than the intervals of the two metrics suggest.
    """
    shared = [name for name in scores.metrics if name in other.metrics]
    differences = {name: _difference(scores, scores.metrics[name], other.metrics[name], resamples) for name in shared}
    return {name: difference for name, difference in differences.items() if not np.isnan(difference.value)}


def _difference(scores: QueryScores, metric: Metric, other: Metric, resamples: int) -> Difference:
    width = metric.columns.shape[1]
    both = np.concatenate([metric.columns, other.columns], axis=1)
    means = nan_mean(both.T)
    mean_draws = resample_means(both, scores.clusters, resamples)
    draws = metric.combine(mean_draws[:, :width]) - other.combine(mean_draws[:, width:])
    finite = draws[~np.isnan(draws)]
    above_zero = float((finite > 0).mean()) if len(finite) else float("nan")
    value = float(metric.combine(means[:width]) - other.combine(means[width:]))
    return Difference(value, *percentile_interval(draws), above_zero)
