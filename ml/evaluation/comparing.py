"""The difference of two encoders on the same queries, resampled in pairs."""

from dataclasses import dataclass

import numpy as np

from ml.evaluation.intervals import RESAMPLES, Figure, Scored, interval, mean_of_known, resampled_means


@dataclass(frozen=True)
class Difference:
    """How much higher a figure is than the other encoder's, its 95 % interval, and the share of resamples above zero.

    The last three are NaN where the figure stands on fewer than two clusters.
    """

    value: float
    low: float
    high: float
    above_zero: float


def differences(scored: Scored, other: Scored, resamples: int = RESAMPLES) -> dict[str, Difference]:
    """Return `scored` minus `other` for each figure that both have. Row i of both must be the same query.

    Each resample draws the same contributors for both: what makes a contributor's photos hard for one encoder makes
    them hard for the other, so the interval is narrower than those of the two figures suggest.
    """
    shared = [name for name in scored.figures if name in other.figures]
    found = {name: _difference(scored, scored.figures[name], other.figures[name], resamples) for name in shared}
    return {name: difference for name, difference in found.items() if not np.isnan(difference.value)}


def _difference(scored: Scored, ours: Figure, theirs: Figure, resamples: int) -> Difference:
    width = ours.columns.shape[1]
    both = np.concatenate([ours.columns, theirs.columns], axis=1)
    means = mean_of_known(both.T)
    draws = resampled_means(both, scored.clusters, resamples)
    drawn = ours.combine(draws[:, :width]) - theirs.combine(draws[:, width:])
    known = drawn[~np.isnan(drawn)]
    above_zero = float((known > 0).mean()) if len(known) else float("nan")
    value = float(ours.combine(means[:width]) - theirs.combine(means[width:]))
    return Difference(value, *interval(drawn), above_zero)
