"""How long the exact search takes among many vectors, beside other ways to do the same, in one run.

    python -m benchmarks.search --n 1000000 --against faiss,numpy,torch

Prints one JSON object. Vectors are drawn in clusters, as those of garments are. The ways take turns, ten queries each,
so that whatever else the machine does falls on all of them, but the threads with which one library still waits for work
do not fall on the next; the medians count. `recall`: how many
of the true top k (scored in float64, row by row) are found. `limit_ms`: one pass over the float32 vectors with numpy's
sum, the least that a search must take that reads them all in full. Memory is what the process grew by.
"""

import argparse
import json
import os
import resource
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from ml.search import VectorIndex
from ml.vectors import Floats, unit_rows

DIM = 100
ITEMS = 20  # asked for
TURN = 10  # queries
PAUSE = 0.3  # seconds between two ways
CHUNK = 10_000  # rows added at a time, as a worker reads them

Search = Callable[[Floats], list[int]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=100_000, help="vectors")
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--against", default="faiss,numpy,torch", help="of faiss, numpy and torch, with commas between")
    options = parser.parse_args()
    vectors, queries = drawn(options.n, options.queries)
    ways: dict[str, Search] = {}
    built: dict[str, dict[str, float]] = {}
    for name in ["ours", *filter(None, options.against.split(","))]:
        before, started = memory_mb(), time.perf_counter()
        ways[name] = WAYS[name](vectors)
        built[name] = {
            "build_s": round(time.perf_counter() - started, 2),
            "memory_mb": round(memory_mb() - before),
        }
    report = {"n": options.n, "k": ITEMS, "cores": os.cpu_count(), "limit_ms": limit(vectors)}
    print(json.dumps(report | {"ways": measured(ways, built, vectors, queries)}, indent=2))


def drawn(count: int, queries: int) -> tuple[Floats, Floats]:
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(2000, DIM)).astype(np.float32)
    vectors = np.concatenate(
        [
            unit_rows(centres[rng.integers(0, 2000, rows)] + 0.6 * rng.standard_normal((rows, DIM)).astype(np.float32))
            for rows in (len(part) for part in np.array_split(np.empty(count), -(-count // 100_000)))
        ]
    )
    seen = vectors[rng.integers(0, count, queries)]
    return vectors, unit_rows(seen + 0.08 * rng.standard_normal(seen.shape))


def ours(vectors: Floats) -> Search:
    index = VectorIndex("benchmark", DIM)
    for start in range(0, len(vectors), CHUNK):
        numbers = np.arange(start, min(start + CHUNK, len(vectors)))
        index.add(numbers, numbers, vectors[numbers])
    return lambda query: [hit.photo_id for hit in index.search(query, ITEMS, encoder="benchmark")]


def faiss_flat(vectors: Floats) -> Search:
    import faiss

    index = faiss.IndexFlatIP(DIM)
    index.add(vectors)

    def search(query: Floats) -> list[int]:
        found: list[int] = index.search(query[None], ITEMS)[1][0].tolist()
        return found

    return search


def numpy_pass(vectors: Floats) -> Search:
    def search(query: Floats) -> list[int]:
        scores = vectors @ query
        best = np.argpartition(scores, -ITEMS)[-ITEMS:]
        return best[np.argsort(-scores[best])].tolist()  # type: ignore[no-any-return]

    return search


def torch_pass(vectors: Floats) -> Search:
    import torch

    rows = torch.from_numpy(vectors)

    def search(query: Floats) -> list[int]:
        with torch.inference_mode():
            return torch.topk(rows @ torch.from_numpy(query), ITEMS).indices.tolist()

    return search


WAYS = {"ours": ours, "faiss": faiss_flat, "numpy": numpy_pass, "torch": torch_pass}


def measured(
    ways: dict[str, Search], built: dict[str, dict[str, float]], vectors: Floats, queries: Floats
) -> dict[str, Any]:
    times: dict[str, list[float]] = {name: [] for name in ways}
    found: dict[str, float] = dict.fromkeys(ways, 0.0)
    truths = [set(true_best(vectors, query)) for query in queries]
    for start in range(0, len(queries), TURN):
        for name, search in ways.items():
            time.sleep(PAUSE)
            for query, truth in zip(queries[start : start + TURN], truths[start : start + TURN], strict=True):
                started = time.perf_counter()
                answer = search(query)
                times[name].append((time.perf_counter() - started) * 1000)
                found[name] += len(truth & set(answer)) / len(truth)
    return {
        name: {
            "median_ms": round(statistics.median(times[name]), 2),
            "times_ours": round(statistics.median(times[name]) / statistics.median(times["ours"]), 2),
            "recall": round(found[name] / len(queries), 4),
            **built[name],
        }
        for name in ways
    }


def true_best(vectors: Floats, query: Floats) -> list[int]:
    """The best rows in float64; the float32 pass only chooses which of them to look at."""
    near = np.argpartition(vectors @ query, -200)[-200:]
    scores = (vectors[near].astype(np.float64) * query).sum(axis=1)
    return near[np.argsort(-scores)[:ITEMS]].tolist()  # type: ignore[no-any-return]


def limit(vectors: Floats) -> float:
    times = []
    for _ in range(10):
        started = time.perf_counter()
        vectors.sum()
        times.append((time.perf_counter() - started) * 1000)
    return round(statistics.median(times), 2)


def memory_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
