"""Vectors, items and facts for tests of searches, and the dumbest search of them."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ml.search import ANY, Hit, Rows, Where, rows_of
from ml.vectors import unit_rows

ENCODER = "lite0@abc"
CORNERS = np.eye(4, dtype=np.float32)
NO_FACTS: dict[str, Any] = {
    **{"category": "", "brand": "", "gender": "", "colour": "", "collection": ""},
    **{"price": None, "in_stock": True},
}


@dataclass
class Photo:
    item: int
    vector: np.ndarray
    facts: dict[str, Any] = field(default_factory=lambda: dict(NO_FACTS))


Photos = dict[int, Photo]
"""What should be in an index, by photo."""


def rows_from(photos: Photos, only: Iterable[int] | None = None) -> Rows:
    """The rows to put in for some photos, or all."""
    ids = list(photos) if only is None else list(only)
    facts = {name: [photos[photo].facts[name] for photo in ids] for name in NO_FACTS}
    dim = len(next(iter(photos.values())).vector) if photos else 4
    vectors = np.array([photos[photo].vector for photo in ids], dtype=np.float32).reshape(len(ids), dim)
    return rows_of(ids, [photos[photo].item for photo in ids], vectors, **facts)


def best_of(photos: Photos, query: np.ndarray, k: int, where: Where = ANY) -> list[tuple[int, int, float]]:
    """(item, photo, score) of the `k` best items: score every row, sort, keep each item's first."""
    fitting = [(photo, row) for photo, row in photos.items() if where.fits(row.facts)]
    if not fitting:
        return []
    vectors = np.array([row.vector for _, row in fitting], dtype=np.float64)
    scores = (vectors * query).sum(axis=1).astype(np.float32)
    best: dict[int, tuple[int, int, float]] = {}
    for place in np.lexsort(([photo for photo, _ in fitting], [row.item for _, row in fitting], -scores)):
        photo, row = fitting[place]
        best.setdefault(row.item, (row.item, photo, float(scores[place])))
        if len(best) == k:
            break
    return list(best.values())


def told(hits: list[Hit]) -> list[tuple[int, int, float]]:
    return [(hit.item_id, hit.photo_id, hit.score) for hit in hits]


def clustered(rows: int, dim: int = 100, seed: int = 0, clusters: int = 40, spread: float = 0.4) -> np.ndarray:
    """Unit vectors in clusters, as those of garments are: there are many near neighbours."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(clusters, dim))
    return unit_rows(centres[rng.integers(0, clusters, rows)] + spread * rng.normal(size=(rows, dim)))


def recall(index: Any, photos: Photos, queries: np.ndarray, k: int, where: Where = ANY) -> float:
    """The mean share of the `k` best items that an index finds."""
    shares = []
    fitting = {photo: row for photo, row in photos.items() if where.fits(row.facts)}
    for query in queries:
        right = {item for item, _, _ in best_of(fitting, query, k)}
        hits = index.search(query, k, encoder=index.encoder, where=where)
        assert len(hits) == len(right)
        shares.append(len(right & {hit.item_id for hit in hits}) / len(right) if right else 1.0)
    return float(np.mean(shares))
