"""The figures of a card: how often the right label, or the very garment, is near. Pure functions on unit vectors."""

import numpy as np
import numpy.typing as npt

from ml.vectors import Floats

Ints = npt.NDArray[np.int64]

CHUNK_ROWS = 512
"""Queries compared at a time: 512 rows against 100,000 photos are 200 MB of scores."""


def label_figures(
    queries: Floats, gallery: Floats, query_labels: Ints, gallery_labels: Ints, query_groups: Ints, gallery_groups: Ints
) -> tuple[float, float]:
    """Return (share of the right label among the ten nearest, MAP@R), both 0..1 and averaged over the queries.

    Gallery photos of the query's own group (its contributor, or the item) are left out, the query itself among them.
    R is the number of photos of the query's label that remain; a query without any is left out of both averages.
    MAP@R: Musgrave, Belongie and Lim, "A Metric Learning Reality Check", 2020: the mean over the first R ranks of the
    precision at each rank that is right. Ties in score go to the photo that stands first in the gallery.
    """
    near: list[float] = []
    precisions: list[float] = []
    for start in range(0, len(queries), CHUNK_ROWS):
        rows = slice(start, start + CHUNK_ROWS)
        scores = queries[rows] @ gallery.T
        scores[query_groups[rows, None] == gallery_groups[None, :]] = -np.inf
        order = np.argsort(-scores, axis=1, kind="stable")
        for row, ranked in enumerate(order):
            left = int(np.isfinite(scores[row]).sum())
            right = gallery_labels[ranked[:left]] == query_labels[start + row]
            relevant = int(right.sum())
            if relevant:
                near.append(float(right[:10].mean()))
                precisions.append(_average_precision_at_r(right, relevant))
    return _mean(near), _mean(precisions)


def _average_precision_at_r(right: npt.NDArray[np.bool_], relevant: int) -> float:
    first = right[:relevant]
    precision = np.cumsum(first) / np.arange(1, relevant + 1)
    return float((precision * first).sum() / relevant)


def found_within(queries: Floats, gallery: Floats, targets: Ints, ks: tuple[int, ...]) -> tuple[float, ...]:
    """Return, for each k of `ks`, the share of queries whose target row of the gallery is among the k nearest.

    `targets[i]` is the gallery row that query i shows. A rival with exactly the target's score counts as nearer, so
    that vectors which collapsed to one point score zero and not one.
    """
    ranks: list[Ints] = []
    for start in range(0, len(queries), CHUNK_ROWS):
        rows = slice(start, start + CHUNK_ROWS)
        scores = queries[rows] @ gallery.T
        own = scores[np.arange(len(scores)), targets[rows]]
        ranks.append((scores >= own[:, None]).sum(axis=1))  # 1 = first, as its own score is counted
    rank = np.concatenate(ranks) if ranks else np.empty(0, dtype=np.int64)
    return tuple(_mean((rank <= k).tolist()) for k in ks)


def _mean(values: list[float]) -> float:
    return float(np.mean(values)) if values else float("nan")
