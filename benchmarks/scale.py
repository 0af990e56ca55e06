"""Benchmark: build, save, open, search and update an index of very many vectors in bounded memory.

    python -m benchmarks.scale [--n 10000000] [--kind exact|approximate] [--processes 2]

Prints one JSON object. Vectors are drawn in chunks, as in `benchmarks.search`, and are never all in memory: each
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
from benchmarks.searchers import K
from ml.search import ANY, ExactIndex, Where, build_rows
from ml.search.memory import snapshot
from ml.search.memory.ivf import ApproximateIndex
from ml.vectors import Floats, unit_rows

CHUNK = 100_000  # vectors
COMPACT_EVERY = 10  # chunks
QUERIES = 40
KINDS: dict[str, type[ExactIndex]] = {"exact": ExactIndex, "approximate": ApproximateIndex}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=10_000_000, help="vectors")
    parser.add_argument("--kind", choices=KINDS, default="exact")
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    queries, truths = draw_queries(options.n)
    with tempfile.TemporaryDirectory() as folder:
        with context.Pool(1) as pool:
            build_report = pool.apply(build, (Path(folder), options.n, options.kind))
        pipes = [context.Pipe() for _ in range(options.processes)]
        workers = [
            context.Process(target=measure_process, args=(Path(folder), options.kind, pipe, queries, truths))
            for _, pipe in pipes
        ]
        for worker in workers:
            worker.start()
        for pipe, _ in pipes:
            pipe.recv()  # wait until all processes have opened the files
        reports = []
        for pipe, _ in pipes:
            pipe.send("go")
            reports.append(pipe.recv())
        for worker in workers:
            worker.join()
    setting = {"n": options.n, "kind": options.kind, "cores": os.cpu_count()}
    print(json.dumps({**setting, **build_report, "each": reports}, indent=2))


def draw_chunks(count: int) -> Iterator[tuple[npt.NDArray[np.int64], Floats, npt.NDArray[np.int64]]]:
    """Yield row numbers, unit vectors and categories in chunks, from fixed seeds."""
    centres = np.random.default_rng(0).standard_normal((CLUSTERS, DIM)).astype(np.float32)
    for start in range(0, count, CHUNK):
        rng = np.random.default_rng(start + 1)
        numbers = np.arange(start, min(start + CHUNK, count))
        clusters = rng.integers(0, CLUSTERS, len(numbers))
        noise = 0.6 * rng.standard_normal((len(numbers), DIM), dtype=np.float32)
        yield numbers, unit_rows(centres[clusters] + noise), clusters % CATEGORIES


def draw_queries(count: int) -> tuple[Floats, list[list[int]]]:
    """Draw queries near some rows; return them with their true nearest rows."""
    _, vectors, _ = next(draw_chunks(count))
    rng = np.random.default_rng(7)
    targets = vectors[rng.integers(0, len(vectors), QUERIES)]
    queries = unit_rows(targets + 0.08 * rng.standard_normal(targets.shape))
    best: list[list[tuple[float, int]]] = [[] for _ in queries]
    for numbers, rows, _ in draw_chunks(count):
        scores = rows @ queries.T
        for at, query in enumerate(queries):
            near = np.argpartition(scores[:, at], -K)[-K:]
            exact = (rows[near].astype(np.float64) * query).sum(axis=1)
            candidates = list(zip((-exact).tolist(), numbers[near].tolist(), strict=True))
            best[at] = sorted(best[at] + candidates)[:K]
    return queries, [[number for _, number in nearest] for nearest in best]


def build(folder: Path, count: int, kind: str) -> dict[str, Any]:
    """Build and save the index chunk by chunk; return its time, peak memory and sizes."""
    index, started = KINDS[kind]("scale", DIM), time.perf_counter()
    for turn, (numbers, vectors, categories) in enumerate(draw_chunks(count), start=1):
        for rows in np.array_split(np.arange(len(numbers)), 10):
            names = [str(category) for category in categories[rows]]
            index.update(build_rows(numbers[rows], numbers[rows], vectors[rows], category=names))
        if turn % COMPACT_EVERY == 0 or (turn - 1) * CHUNK + len(numbers) == count:
            index.compact()
            snapshot.save(index, folder)
            index = snapshot.load(folder, "scale", DIM, KINDS[kind])
    return {
        "build_s": round(time.perf_counter() - started, 1),
        "build_peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "files_mb": sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) // 2**20,
        "segments": len(index.state.segments),
    }


def measure_process(folder: Path, kind: str, pipe: Connection, queries: Floats, truths: list[list[int]]) -> None:
    """Open the files in this process, wait for a message, measure, and send the report through the pipe."""
    started = time.perf_counter()
    index = snapshot.load(folder, "scale", DIM, KINDS[kind])
    report: dict[str, Any] = {"open_s": round(time.perf_counter() - started, 2)}
    pipe.send("open")
    pipe.recv()
    started = time.perf_counter()
    index.search(queries[0], K, encoder="scale")
    report["first_ms"] = ms_since(started)
    recalls = []
    for name, where in (("one_ms", ANY), ("one_category_ms", Where(category="3"))):
        times = []
        for query, truth in zip(queries, truths, strict=True):
            started = time.perf_counter()
            hits = index.search(query, K, encoder="scale", where=where)
            times.append(ms_since(started))
            if where is ANY:
                recalls.append(recall(truth, [hit.photo_id for hit in hits]))
        report[name] = statistics.median(times)
    report["recall"] = round(float(np.mean(recalls)), 4)
    report["change_ms"] = measure_change_ms(index, queries)
    pipe.send(report | memory_mb())


def measure_change_ms(index: ExactIndex, queries: Floats) -> float:
    """Return the median time in ms of adding a row, finding it, and removing it."""
    times = []
    for number, query in enumerate(queries[:20], start=10**12):
        started = time.perf_counter()
        index.update(build_rows([number], [number], query[None]))
        assert index.search(query, 1, encoder="scale")[0].photo_id == number
        index.update(build_rows([], [], []), items=[number])
        times.append(ms_since(started))
    return statistics.median(times)


def memory_mb() -> dict[str, int]:
    """Return the private and the file-backed resident memory of this process in MiB (Linux only)."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return {
        name: int(lines[field].split()[0]) // 1024 for name, field in (("own_mb", "RssAnon"), ("mapped_mb", "RssFile"))
    }


def ms_since(started: float) -> float:
    """Return the milliseconds since a reading of `time.perf_counter`."""
    return round((time.perf_counter() - started) * 1000, 2)


if __name__ == "__main__":
    main()
