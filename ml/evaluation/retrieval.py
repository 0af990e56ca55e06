"""Retrieval metrics per query (Recall@k, MAP@R, R-precision, rank of a target), from unit vectors, in chunks.

The rank of a right photo is one more than the number of right photos before it and of wrong photos with at least its
score: ties count against the query. So no metric depends on the order of the gallery, and vectors that collapsed to one
point score 0. Only scores are sorted, never positions, and of the wrong ones only as many as can matter.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ml.vectors import Floats, ShapeError, require_unit_rows

Ints = npt.NDArray[np.int64]
Scores = npt.NDArray[np.float64]

CHUNK_SCORES = 1 << 24
"""Scores computed at a time: 64 MiB of float32, that is 167 queries against 100,000 photos."""

NEAR = 10


@dataclass(frozen=True)
class LabelScores:
    """One number 0..1 per query, float64 (q,); NaN if the gallery has no right photo for the query.

    recall_at_k: 1 if any of the first k is right, else 0. near10: the share of the ten nearest that is right.
    r_precision: the share of the first R that is right, where R is the number of right photos. map_at_r: the mean over
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
    """Score how well each query (q, d) retrieves photos of its label from the gallery (n, d), by cosine.

    Gallery photos of the query's own group (its contributor, or its item) are excluded, and so is the query itself.
    Raises `ShapeError`, `NotFiniteError` or `NotUnitError`.
    """
    _require_equal_lengths(queries, query_labels, query_groups)
    _require_equal_lengths(gallery, gallery_labels, gallery_groups)
    excluded, right = _MatchingRows.of(gallery_groups, query_groups), _MatchingRows.of(gallery_labels, query_labels)
    metrics = np.full((len(queries), len(LabelScores.__dataclass_fields__)), np.nan)
    for rows, scores in _score_chunks(queries, gallery, np.argsort(right.counts, kind="stable")):
        relevant_scores = [
            _take_relevant_scores(line, excluded.rows(row), right.rows(row))
            for row, line in zip(rows, scores, strict=True)
        ]
        irrelevant_scores = _highest_scores(scores, max(NEAR, *(len(relevant) for relevant in relevant_scores)))
        for row, relevant, wrong in zip(rows, relevant_scores, irrelevant_scores, strict=True):
            if len(relevant):
                ranks = np.arange(1, len(relevant) + 1) + len(wrong) - np.searchsorted(wrong, relevant, "left")
                metrics[row] = _query_metrics(ranks, len(gallery) - int(excluded.counts[row]))
    return LabelScores(*metrics.T.copy())


def target_ranks(queries: Floats, gallery: Floats, targets: Ints) -> Ints:
    """Return the rank (1 = nearest) of the gallery row `targets[i]` for query i.

    Another row with exactly the target's score counts as nearer. Raises `ShapeError`, `NotFiniteError` or
    `NotUnitError`.
    """
    _require_equal_lengths(queries, targets)
    ranks = np.empty(len(queries), dtype=np.int64)
    for rows, scores in _score_chunks(queries, gallery, np.arange(len(queries))):
        target_scores = scores[np.arange(len(rows)), targets[rows]]
        ranks[rows] = (scores >= target_scores[:, None]).sum(axis=1)  # counts the target itself: the first has rank 1
    return ranks


@dataclass(frozen=True)
class _MatchingRows:
    """The gallery rows with the key of each query: all rows ordered by key, and where each query's begin."""

    order: Ints
    starts: Ints
    counts: Ints

    @classmethod
    def of(cls, gallery_keys: Ints, query_keys: Ints) -> "_MatchingRows":
        order = np.argsort(gallery_keys, kind="stable")
        ordered = gallery_keys[order]
        starts = np.searchsorted(ordered, query_keys, "left")
        return cls(order, starts, np.searchsorted(ordered, query_keys, "right") - starts)

    def rows(self, query: int) -> Ints:
        start = self.starts[query]
        return self.order[start : start + self.counts[query]]


def _score_chunks(queries: Floats, gallery: Floats, order: Ints) -> Iterator[tuple[Ints, Floats]]:
    """Yield the rows (c,) of some queries at a time, in `order`, and their cosines (c, n), to be overwritten."""
    gallery = require_unit_rows(gallery, gallery.shape[-1])
    queries = require_unit_rows(queries, gallery.shape[1])
    size = max(1, CHUNK_SCORES // max(1, len(gallery)))
    for start in range(0, len(order), size):
        rows = order[start : start + size]
        yield rows, queries[rows] @ gallery.T


def _take_relevant_scores(scores: Floats, excluded: Ints, right: Ints) -> Floats:
    """Return the scores (r,) of the right photos, highest first; set them and the excluded ones to -inf."""
    scores[excluded] = -np.inf
    relevant = scores[right]
    scores[right] = -np.inf
    return np.sort(relevant[relevant > -np.inf])[::-1]


def _highest_scores(scores: Floats, count: int) -> Floats:
    """Return the `count` highest scores of each row, ascending, or all if there are fewer. Reorders `scores`."""
    first = max(0, scores.shape[1] - count)
    if first:
        scores.partition(first, axis=1)
    highest = scores[:, first:]
    highest.sort(axis=1)
    return highest


def _query_metrics(ranks: Ints, candidates: int) -> tuple[float, ...]:
    """The metrics of one query, in the order of `LabelScores`.

    `ranks` (r,): of its right photos, ascending. `candidates`: the number of gallery photos that are not excluded.
    """
    within_r = ranks <= len(ranks)
    precision = np.arange(1, len(ranks) + 1) / ranks
    near10 = (ranks <= NEAR).sum() / min(NEAR, candidates)
    return (*(ranks[0] <= np.array([1, 5, 10])), near10, (precision * within_r).mean(), within_r.mean())


def _require_equal_lengths(vectors: Floats, *keys: Ints) -> None:
    if any(len(column) != len(vectors) for column in keys):
        lengths = [len(column) for column in keys]
        raise ShapeError(f"{len(vectors)} vectors need as many labels, groups or targets: {lengths}.")
