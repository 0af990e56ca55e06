"""Retrieval metrics per query (Recall@k, MAP@R, R-precision, rank of a target), from unit vectors, in chunks.

The rank of a relevant photo (same label or item) is one more than the number of relevant photos before it and of
irrelevant photos with at least its score: ties count against the query. So no metric depends on the order of the
gallery, and collapsed vectors score 0. Only scores are sorted, not positions, and only as many irrelevant scores as
can change a metric.
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
    """One number 0..1 per query, float64 (q,); NaN if the gallery has no relevant photo for the query.

    recall_at_k: 1 if any of the first k is relevant, else 0. near10: precision at 10, the relevant share of the ten
    nearest. r_precision: the relevant share of the first R, where R is the number of relevant photos. map_at_r: the
    mean over the first R ranks of the precision at each relevant rank (Musgrave, Belongie and Lim, "A Metric Learning
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
    excluded = _MatchingRows.by_key(gallery_groups, query_groups)
    relevant_rows = _MatchingRows.by_key(gallery_labels, query_labels)
    metrics = np.full((len(queries), len(LabelScores.__dataclass_fields__)), np.nan)
    for rows, scores in _score_chunks(queries, gallery, np.argsort(relevant_rows.counts, kind="stable")):
        relevant_scores = [
            _take_relevant_scores(line, excluded.rows(row), relevant_rows.rows(row))
            for row, line in zip(rows, scores, strict=True)
        ]
        irrelevant_scores = _highest_scores(scores, max(NEAR, *(len(relevant) for relevant in relevant_scores)))
        for row, relevant, irrelevant in zip(rows, relevant_scores, irrelevant_scores, strict=True):
            if len(relevant):
                higher = len(irrelevant) - np.searchsorted(irrelevant, relevant, "left")  # irrelevant rows above each
                ranks = np.arange(1, len(relevant) + 1) + higher
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
    """Inverted index: `order` sorts the gallery rows by key; `starts`, `counts` (q,) locate each query's rows."""

    order: Ints
    starts: Ints
    counts: Ints

    @classmethod
    def by_key(cls, gallery_keys: Ints, query_keys: Ints) -> "_MatchingRows":
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


def _take_relevant_scores(scores: Floats, excluded: Ints, relevant_rows: Ints) -> Floats:
    """Return the scores (r,) of the relevant photos, highest first; set these and the excluded scores to -inf."""
    scores[excluded] = -np.inf
    relevant = scores[relevant_rows]
    scores[relevant_rows] = -np.inf
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
    """Return the metrics of one query, in the order of `LabelScores`.

    `ranks` (r,): the ranks of its relevant photos, ascending. `candidates`: the number of gallery photos that are not
    excluded.
    """
    within_r = ranks <= len(ranks)
    precision = np.arange(1, len(ranks) + 1) / ranks
    near10 = (ranks <= NEAR).sum() / min(NEAR, candidates)
    return (*(ranks[0] <= np.array([1, 5, 10])), near10, (precision * within_r).mean(), within_r.mean())


def _require_equal_lengths(vectors: Floats, *keys: Ints) -> None:
    if any(len(column) != len(vectors) for column in keys):
        lengths = [len(column) for column in keys]
        raise ShapeError(f"{len(vectors)} vectors need as many labels, groups or targets: {lengths}.")
