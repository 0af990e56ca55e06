"""Benchmark: an index of very many vectors in bounded memory: built, saved, opened, searched and changed.

    python -m benchmarks.scale [--n 10000000] [--kind exact|approximate] [--processes 2]

Prints one JSON object. Vectors are drawn in parts, as in `benchmarks.search`, and are never all in memory: each
finished segment is mapped from its file. Then several processes open the files, as the workers of a machine do, answer
the same queries one after the other, and change their index. Memory of a process: `own_mb` is private, `mapped_mb` is
read from the files, shared by all processes and reclaimable. `recall` is over the true best twenty, found by drawing
all vectors again.
"""

import argparse
import json
import multiprocessing
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.search import CATEGORIES, CLUSTERS, DIM, recall
from benchmarks.searchers import ITEMS
from ml.search import ANY, ExactIndex, Where, build_rows
from ml.search.memory import snapshot
from ml.search.memory.ivf import ApproximateIndex
from ml.vectors import Floats, unit_rows

PART = 100_000  # vectors
JOINED_EVERY = 10  # parts, between compactions
QUERIES = 40
KINDS: dict[str, type[ExactIndex]] = {"exact": ExactIndex, "approximate": ApproximateIndex}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=10_000_000, help="vectors")
    parser.add_argument("--kind", choices=KINDS, default="exact")
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    queries, truths = asked(options.n)
    with tempfile.TemporaryDirectory() as folder:
        with context.Pool(1) as pool:
            built = pool.apply(build, (Path(folder), options.n, options.kind))
        openers = [context.Pipe() for _ in range(options.processes)]
        workers = [
            context.Process(target=work, args=(Path(folder), options.kind, end, queries, truths)) for _, end in openers
        ]
        for worker in workers:
            worker.start()
        for ours, _ in openers:
            ours.recv()  # wait until all have opened the files
        reports = []
        for ours, _ in openers:
            ours.send("go")
            reports.append(ours.recv())
        for worker in workers:
            worker.join()
    print(
        json.dumps(
            {"n": options.n, "kind": options.kind, "cores": os.cpu_count()} | built | {"each": reports}, indent=2
        )
    )


def parts(count: int) -> Iterator[tuple[npt.NDArray[np.int64], Floats, npt.NDArray[np.int64]]]:
    """Row numbers, unit vectors and categories in parts, from fixed seeds."""
    centres = np.random.default_rng(0).standard_normal((CLUSTERS, DIM)).astype(np.float32)
    for start in range(0, count, PART):
        rng = np.random.default_rng(start + 1)
        numbers = np.arange(start, min(start + PART, count))
        clusters = rng.integers(0, CLUSTERS, len(numbers))
        noise = 0.6 * rng.standard_normal((len(numbers), DIM), dtype=np.float32)
        yield numbers, unit_rows(centres[clusters] + noise), clusters % CATEGORIES


def asked(count: int) -> tuple[Floats, list[list[int]]]:
    """Queries near some rows, and their true nearest rows."""
    _, vectors, _ = next(parts(count))
    rng = np.random.default_rng(7)
    seen = vectors[rng.integers(0, len(vectors), QUERIES)]
    queries = unit_rows(seen + 0.08 * rng.standard_normal(seen.shape))
    best: list[list[tuple[float, int]]] = [[] for _ in queries]
    for numbers, rows, _ in parts(count):
        scores = rows @ queries.T
        for place in range(len(queries)):
            near = np.argpartition(scores[:, place], -ITEMS)[-ITEMS:]
            exact = (rows[near].astype(np.float64) * queries[place]).sum(axis=1)
            found = list(zip((-exact).tolist(), numbers[near].tolist(), strict=True))
            best[place] = sorted(best[place] + found)[:ITEMS]
    return queries, [[number for _, number in found] for found in best]


def build(folder: Path, count: int, kind: str) -> dict[str, Any]:
    """Build and save the index part by part; return its time, peak memory and sizes."""
    index, started = KINDS[kind]("scale", DIM), time.perf_counter()
    for turn, (numbers, vectors, categories) in enumerate(parts(count), start=1):
        for some in np.array_split(np.arange(len(numbers)), 10):
            names = [str(category) for category in categories[some]]
            index.update(build_rows(numbers[some], numbers[some], vectors[some], category=names))
        if turn % JOINED_EVERY == 0 or (turn - 1) * PART + len(numbers) == count:
            index.compact()
            snapshot.save(index, folder)
            index = snapshot.load(folder, "scale", DIM, KINDS[kind])
    return {
        "build_s": round(time.perf_counter() - started, 1),
        "build_peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "files_mb": sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) // 2**20,
        "segments": len(index.state.segments),
    }


def work(folder: Path, kind: str, pipe: Connection, queries: Floats, truths: list[list[int]]) -> None:
    """Body of one process: open the files, wait for its turn, measure."""
    started = time.perf_counter()
    index = snapshot.load(folder, "scale", DIM, KINDS[kind])
    report: dict[str, Any] = {"open_s": round(time.perf_counter() - started, 2)}
    pipe.send("open")
    pipe.recv()
    started = time.perf_counter()
    index.search(queries[0], ITEMS, encoder="scale")
    report["first_ms"] = since(started)
    shares = []
    for name, where in (("one_ms", ANY), ("one_category_ms", Where(category="3"))):
        times = []
        for query, truth in zip(queries, truths, strict=True):
            started = time.perf_counter()
            hits = index.search(query, ITEMS, encoder="scale", where=where)
            times.append(since(started))
            if where is ANY:
                shares.append(recall(truth, [hit.photo_id for hit in hits]))
        report[name] = statistics.median(times)
    report["recall"] = round(float(np.mean(shares)), 4)
    report["change_ms"] = changed(index, queries)
    pipe.send(report | memory())


def changed(index: ExactIndex, queries: Floats) -> float:
    """The median time in ms of adding a row, finding it, and removing it."""
    times = []
    for place, query in enumerate(queries[:20]):
        number = 10**12 + place
        started = time.perf_counter()
        index.update(build_rows([number], [number], query[None]))
        assert index.search(query, 1, encoder="scale")[0].photo_id == number
        index.update(build_rows([], [], []), items=[number])
        times.append(since(started))
    return statistics.median(times)


def memory() -> dict[str, int]:
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return {
        name: int(lines[field].split()[0]) // 1024 for name, field in (("own_mb", "RssAnon"), ("mapped_mb", "RssFile"))
    }


def since(started: float) -> float:
    return round((time.perf_counter() - started) * 1000, 2)


if __name__ == "__main__":
    main()
