"""From queries to a figure with its 95 % interval, by a bootstrap over clusters.

Photos of one contributor (or of one item) are alike, so a query is no independent trial; a contributor is. One resample
draws as many contributors as there are, with replacement, and takes all queries of each as often as it was drawn.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ml.evaluation.retrieval import Ints, Scores

SEED = 20
RESAMPLES = 1000
LEVEL = (0.025, 0.975)
FEWEST_CLUSTERS = 2
"""With one contributor every resample is the same: an interval of no width would claim certainty."""

BLOCK_WEIGHTS = 1 << 22
"""Weights held at a time, resamples times clusters: 32 MiB of float64."""


def mean_of_known(values: Scores) -> Scores:
    """The mean over the last axis, NaN left out; NaN where nothing else is there. (np.nanmean would warn.)"""
    known = ~np.isnan(values)
    count = known.sum(axis=-1)
    total = np.where(known, values, 0.0).sum(axis=-1)
    mean: Scores = np.divide(total, count, out=np.full(count.shape, np.nan), where=count > 0)
    return mean


@dataclass(frozen=True)
class Figure:
    """A figure as what each query gives to it: columns (q, f) whose means `combine` turns into one number.

    NaN: the query says nothing about that column. Most figures are the mean of one column; a macro average is the mean
    of a column per label, each averaged first. `combine` takes means (..., f) to figures (...).
    """

    columns: Scores
    combine: Callable[[Scores], Scores] = mean_of_known

    @classmethod
    def of_queries(cls, scores: Scores) -> "Figure":
        """The mean of one number per query (q,)."""
        return cls(scores[:, None])


@dataclass(frozen=True)
class Scored:
    """Figures of the same queries. `clusters` (q,): which of them belong together."""

    clusters: Ints
    figures: Mapping[str, Figure]

    def of(self, chosen: npt.NDArray[np.bool_]) -> "Scored":
        """The same figures of the chosen queries (q,) alone."""
        figures = {name: Figure(figure.columns[chosen], figure.combine) for name, figure in self.figures.items()}
        return Scored(self.clusters[chosen], figures)


@dataclass(frozen=True)
class Estimate:
    """A figure, its 95 % interval (NaN where it stands on fewer than two clusters) and how many queries it is over."""

    value: float
    low: float
    high: float
    queries: int


def estimates(scored: Scored, resamples: int = RESAMPLES) -> dict[str, Estimate]:
    """Return each figure with its interval; a figure that no query says anything about is left out.

    The draws are over the clusters that say something about the figure, so that one of a rare label is drawn from the
    contributors who have it. The same queries give the same intervals: the seed is fixed.
    """
    found = {}
    for name, figure in scored.figures.items():
        known = ~np.isnan(figure.columns).all(axis=1)
        if known.any():
            value = float(figure.combine(mean_of_known(figure.columns.T)))
            draws = figure.combine(resampled_means(figure.columns, scored.clusters, resamples))
            found[name] = Estimate(value, *interval(draws), int(known.sum()))
    return found


def for_a_card(found: Mapping[str, Estimate]) -> dict[str, float]:
    """Return each figure with its `_low` and `_high`, to four digits; what is not known is left out."""
    told: dict[str, float] = {}
    for name, figure in found.items():
        told |= {name: figure.value, f"{name}_low": figure.low, f"{name}_high": figure.high}
    return {name: round(value, 4) for name, value in told.items() if not np.isnan(value)}


def resampled_means(columns: Scores, clusters: Ints, resamples: int, seed: int = SEED) -> Scores:
    """Return the mean of each column (q, f) in each resample, (resamples, f); NaN where none of it was drawn.

    Rows that are NaN throughout take no part. All NaN where fewer than two clusters are left.
    """
    known = ~np.isnan(columns)
    taking_part = known.any(axis=1)
    known, columns = known[taking_part], columns[taking_part]
    kept, cluster = np.unique(clusters[taking_part], return_inverse=True)
    means = np.full((resamples, columns.shape[1]), np.nan)
    if len(kept) < FEWEST_CLUSTERS:
        return means
    sums, counts = _sums(np.where(known, columns, 0.0), cluster), _sums(known.astype(np.float64), cluster)
    rng = np.random.default_rng(seed)
    size = max(1, BLOCK_WEIGHTS // len(kept))
    for start in range(0, resamples, size):
        block = means[start : start + size]
        times = np.stack([_times_drawn(rng, len(kept)) for _ in block])
        drawn = times @ counts
        np.divide(times @ sums, drawn, out=block, where=drawn > 0)
    return means


def interval(draws: Scores) -> tuple[float, float]:
    """Return the 2.5 and the 97.5 percentile of the resamples (r,), those that are NaN left out."""
    known = draws[~np.isnan(draws)]
    low, high = np.quantile(known, LEVEL) if len(known) else (np.nan, np.nan)
    return float(low), float(high)


def _times_drawn(rng: np.random.Generator, clusters: int) -> Scores:
    return np.bincount(rng.integers(0, clusters, clusters), minlength=clusters).astype(np.float64)


def _sums(values: Scores, cluster: Ints) -> Scores:
    return np.stack([np.bincount(cluster, column) for column in values.T], axis=1)
