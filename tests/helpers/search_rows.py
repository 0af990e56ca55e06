"""Vectors, items and filter columns for tests of searches, and a brute-force search."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ml.search import ANY, Hit, Rows, Where, build_rows
from ml.vectors import unit_rows

ENCODER = "lite0@abc"
CORNERS = np.eye(4, dtype=np.float32)
DEFAULT_COLUMNS: dict[str, Any] = {
    **{"category": "", "brand": "", "gender": "", "colour": "", "collection": ""},
    **{"price": None, "in_stock": True},
}


@dataclass
class Photo:
    item: int
    vector: np.ndarray
    columns: dict[str, Any] = field(default_factory=lambda: dict(DEFAULT_COLUMNS))


Photos = dict[int, Photo]
"""The expected content of an index, by photo id."""


def rows_from(photos: Photos, only: Iterable[int] | None = None) -> Rows:
    """Return the index rows of some photos, or of all."""
    ids = list(photos) if only is None else list(only)
    columns = {name: [photos[photo].columns[name] for photo in ids] for name in DEFAULT_COLUMNS}
    dim = len(next(iter(photos.values())).vector) if photos else 4
    vectors = np.array([photos[photo].vector for photo in ids], dtype=np.float32).reshape(len(ids), dim)
    return build_rows(ids, [photos[photo].item for photo in ids], vectors, **columns)


def best_of(photos: Photos, query: np.ndarray, k: int, where: Where = ANY) -> list[tuple[int, int, float]]:
    """Return (item, photo, score) of the `k` best items by brute force: score, sort, keep each item's first."""
    matching = [(photo, row) for photo, row in photos.items() if where.matches(row.columns)]
    if not matching:
        return []
    vectors = np.array([row.vector for _, row in matching], dtype=np.float64)
    scores = (vectors * query).sum(axis=1).astype(np.float32)
    best: dict[int, tuple[int, int, float]] = {}
    for index in np.lexsort(([photo for photo, _ in matching], [row.item for _, row in matching], -scores)):
        photo, row = matching[index]
        best.setdefault(row.item, (row.item, photo, float(scores[index])))
        if len(best) == k:
            break
    return list(best.values())


def as_tuples(hits: list[Hit]) -> list[tuple[int, int, float]]:
    return [(hit.item_id, hit.photo_id, hit.score) for hit in hits]


def clustered(rows: int, dim: int = 100, seed: int = 0, clusters: int = 40, spread: float = 0.4) -> np.ndarray:
    """Return unit vectors (rows, dim) in clusters, with many near neighbours, like those of garments."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(clusters, dim))
    return unit_rows(centres[rng.integers(0, clusters, rows)] + spread * rng.normal(size=(rows, dim)))


def recall(index: Any, photos: Photos, queries: np.ndarray, k: int, where: Where = ANY) -> float:
    """Return the mean share of the `k` best items that an index finds (recall)."""
    shares = []
    matching = {photo: row for photo, row in photos.items() if where.matches(row.columns)}
    for query in queries:
        expected = {item for item, _, _ in best_of(matching, query, k)}
        hits = index.search(query, k, encoder=index.encoder, where=where)
        assert len(hits) == len(expected)
        shares.append(len(expected & {hit.item_id for hit in hits}) / len(expected) if expected else 1.0)
    return float(np.mean(shares))
