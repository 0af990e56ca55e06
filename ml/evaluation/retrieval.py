"""What each single query found among the unit vectors of a gallery. Pure functions, numpy alone, in chunks.

A rank is one more than the number of wrong photos with at least the score of the right one, plus the right ones before
it: ties count against. So no figure depends on the order of the gallery, and vectors that collapsed to one point find
nothing. Only scores are sorted, never positions, and of the wrong ones only as many as can matter.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ml.vectors import Floats, ShapeError, require_unit_rows

Ints = npt.NDArray[np.int64]
Scores = npt.NDArray[np.float64]

CHUNK_SCORES = 1 << 24
"""Scores held at a time: 64 MiB of float32, that is 167 queries against 100,000 photos."""

NEAR = 10


@dataclass(frozen=True)
class LabelScores:
    """One number 0..1 per query, float64 (q,); NaN where the gallery holds no photo that would be right.

    recall_at_k: 1 if any of the first k is right, else 0. near10: the share of the ten nearest that is right.
    r_precision: the share of the first R that is right, R being how many right ones there are. map_at_r: the mean over
    the first R ranks of the precision at each rank that is right (Musgrave, Belongie and Lim, "A Metric Learning
    Reality Check", 2020).
    """

    recall_at_1: Scores
    recall_at_5: Scores
    recall_at_10: Scores
    near10: Scores
    map_at_r: Scores
    r_precision: Scores


def label_scores(
    queries: Floats, gallery: Floats, query_labels: Ints, gallery_labels: Ints, query_groups: Ints, gallery_groups: Ints
) -> LabelScores:
    """Return how well each query (q, d) finds its label among the gallery (n, d), by cosine.

    Gallery photos of the query's own group (its contributor, or the item) are left out, the query itself among them.
    Raises `ShapeError`, `NotFiniteError` or `NotUnitError`.
    """
    _require_one_each(queries, query_labels, query_groups)
    _require_one_each(gallery, gallery_labels, gallery_groups)
    own, right = _Members.of(gallery_groups, query_groups), _Members.of(gallery_labels, query_labels)
    scores_of_query = np.full((len(queries), len(LabelScores.__dataclass_fields__)), np.nan)
    for rows, scores in _score_chunks(queries, gallery, np.argsort(right.counts, kind="stable")):
        found = [_taken_out(line, own.rows(row), right.rows(row)) for row, line in zip(rows, scores, strict=True)]
        rivals = _largest(scores, max(NEAR, *(len(relevant) for relevant in found)))
        for row, relevant, wrong in zip(rows, found, rivals, strict=True):
            if len(relevant):
                ranks = np.arange(1, len(relevant) + 1) + len(wrong) - np.searchsorted(wrong, relevant, "left")
                scores_of_query[row] = _figures_of(ranks, len(gallery) - int(own.counts[row]))
    return LabelScores(*scores_of_query.T.copy())


def target_ranks(queries: Floats, gallery: Floats, targets: Ints) -> Ints:
    """Return the rank (1 = found first) of the gallery row `targets[i]` for query i: what the query shows.

    A rival with exactly the target's score counts as nearer. Raises `ShapeError`, `NotFiniteError` or `NotUnitError`.
    """
    _require_one_each(queries, targets)
    ranks = np.empty(len(queries), dtype=np.int64)
    for rows, scores in _score_chunks(queries, gallery, np.arange(len(queries))):
        own = scores[np.arange(len(rows)), targets[rows]]
        ranks[rows] = (scores >= own[:, None]).sum(axis=1)  # its own score is counted: the first has rank 1
    return ranks


@dataclass(frozen=True)
class _Members:
    """For each query the gallery rows with its key, as one sorted array and the stretch of it that is the query's."""

    order: Ints
    starts: Ints
    counts: Ints

    @classmethod
    def of(cls, gallery_keys: Ints, query_keys: Ints) -> "_Members":
        order = np.argsort(gallery_keys, kind="stable")
        ordered = gallery_keys[order]
        starts = np.searchsorted(ordered, query_keys, "left")
        return cls(order, starts, np.searchsorted(ordered, query_keys, "right") - starts)

    def rows(self, query: int) -> Ints:
        start = self.starts[query]
        return self.order[start : start + self.counts[query]]


def _score_chunks(queries: Floats, gallery: Floats, order: Ints) -> Iterator[tuple[Ints, Floats]]:
    """Yield some queries at a time, in the given order, with their cosines (c, n), which the caller may overwrite."""
    gallery = require_unit_rows(gallery, gallery.shape[-1])
    queries = require_unit_rows(queries, gallery.shape[1])
    size = max(1, CHUNK_SCORES // max(1, len(gallery)))
    for start in range(0, len(order), size):
        rows = order[start : start + size]
        yield rows, queries[rows] @ gallery.T


def _taken_out(scores: Floats, own: Ints, right: Ints) -> Floats:
    """Return the scores (r,) of the right photos that may answer, highest first; leave the wrong ones in `scores`."""
    scores[own] = -np.inf
    relevant = scores[right]
    scores[right] = -np.inf
    return np.sort(relevant[relevant > -np.inf])[::-1]


def _largest(scores: Floats, count: int) -> Floats:
    """Return the `count` highest scores of each row, rising; all of them where there are fewer. Reorders `scores`."""
    first = max(0, scores.shape[1] - count)
    if first:
        scores.partition(first, axis=1)
    highest = scores[:, first:]
    highest.sort(axis=1)
    return highest


def _figures_of(ranks: Ints, candidates: int) -> tuple[float, ...]:
    """The scores of one query, in the order of `LabelScores`.

    `ranks` (r,): those of its right photos, rising. `candidates`: how many photos could answer.
    """
    within_r = ranks <= len(ranks)
    precision = np.arange(1, len(ranks) + 1) / ranks
    near10 = (ranks <= NEAR).sum() / min(NEAR, candidates)
    return (*(ranks[0] <= np.array([1, 5, 10])), near10, (precision * within_r).mean(), within_r.mean())


def _require_one_each(vectors: Floats, *numbers: Ints) -> None:
    if any(len(given) != len(vectors) for given in numbers):
        raise ShapeError(f"{len(vectors)} vectors need as many labels, groups or targets: {[len(n) for n in numbers]}.")
