"""A large, compacted in-memory index, and the comparison of its results with brute force."""

import numpy as np

from ml.search import ExactIndex, Where
from ml.vectors import unit_rows
from tests.helpers.search_rows import DEFAULT_COLUMNS, Photo, Photos, as_tuples, best_of, clustered, rows_from


def large_index(rows: int = 12_000) -> tuple[ExactIndex, Photos]:
    """A compacted index of items with two photos each, in ten categories of different sizes."""
    vectors = clustered(rows, dim=64, seed=1)
    rng = np.random.default_rng(2)
    categories = rng.integers(0, 10, rows) * rng.integers(0, 2, rows)  # half of all are in the first
    columns = [DEFAULT_COLUMNS | {"category": f"c{number}", "price": float(number)} for number in categories]
    photos = {row: Photo(row // 2, vectors[row], columns[row]) for row in range(rows)}
    index = ExactIndex("e", 64, sealed_at=1000)
    index.update(rows_from(photos))
    assert index.compact()
    return index, photos


def require_exact(index: ExactIndex, photos: Photos, seed: int, wheres: list[Where]) -> None:
    rng = np.random.default_rng(seed)
    sample = np.stack([photos[photo].vector for photo in rng.choice(list(photos), 3)])
    queries = unit_rows(sample + 0.05 * rng.normal(size=sample.shape))
    for where in wheres:
        fitting = {photo: row for photo, row in photos.items() if where.matches(row.columns)}
        for query, hits in zip(queries, index.search_many(queries, 20, encoder="e", where=where), strict=True):
            assert as_tuples(hits) == best_of(fitting, query, 20)
            assert index.search(query, 20, encoder="e", where=where) == hits
