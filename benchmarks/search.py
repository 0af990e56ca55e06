"""Benchmark: nearest-neighbour search, ours against other libraries, in one run. Prints one JSON object.

    python -m benchmarks.search --n 1000000 --against faiss,numpy,torch,usearch,faiss_ivf,faiss_hnsw,hnswlib

Vectors are drawn in clusters, as those of garments are; a cluster has one of twenty categories, so that the neighbours
of a query share its category. The libraries take turns, so that other load on the machine affects all of them; between
two of them is a pause, because busy-waiting threads of one library would slow the next. Medians count; `times_ours` is
a library's time divided by ours.

Parts (`--parts`): `one` query at a time; a `batch` of 64; `filtered` to one category, that of the query and others;
`approximate`, each library in its fastest setting with a recall of 0.99, and ours again with deleted rows and filters.
`recall` is over the true best twenty (float64, row by row); `equals` counts our answers that equal those of brute
force. `limit_ms` is one pass over the float32 vectors by numpy's product on all cores, and the product with 64 queries.
`memory_mb` is the growth of the process. Other libraries: `pip install -r benchmarks/requirements.txt`.
"""

import argparse
import gc
import json
import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import psutil

from benchmarks import searchers
from benchmarks.searchers import K, Neighbours, Search
from ml.search import ExactIndex, Where, build_rows
from ml.vectors import Floats, unit_rows

DIM = 100
CLUSTERS, CATEGORIES = 2000, 20
CALLS_PER_TURN = 10
OTHERS_CALLS = 200  # calls of each other library; ours gets all
PAUSE = 0.3  # seconds between two libraries
BATCH = 64
MIN_RECALL = 0.99  # of an approximate search
PARTS = ("one", "batch", "filtered", "approximate")

Ints = npt.NDArray[np.int64]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=100_000, help="vectors")
    parser.add_argument(
        "--queries", type=int, default=200, help="queries; ours answers all, other libraries the first 200"
    )
    parser.add_argument("--against", default="faiss,numpy,torch", help="other libraries, separated by commas")
    parser.add_argument("--pause", type=float, default=PAUSE, help="seconds between two libraries")
    parser.add_argument("--parts", default=",".join(PARTS), help="parts, separated by commas")
    options = parser.parse_args()
    against, parts = (set(filter(None, words.split(","))) for words in (options.against, options.parts))
    libraries = searchers.EXACT.keys() | searchers.APPROXIMATE.keys()
    if unknown := (against - libraries) | (parts - set(PARTS)):
        names = f"the libraries are {', '.join(sorted(libraries))}, the parts {', '.join(PARTS)}"
        parser.error(f"unknown: {', '.join(sorted(unknown))}; {names}")
    bench = Bench(options.n, options.queries, against, options.pause)
    report: dict[str, Any] = {"n": options.n, "k": K, "cores": os.cpu_count(), "limit_ms": bench.measure_limits()}
    for part in PARTS:
        if part in parts:
            report[part] = getattr(bench, f"measure_{part}")()
    print(json.dumps(report, indent=2))


class Bench:
    """Vectors, queries with their true nearest rows, and the indexes built from the vectors."""

    def __init__(self, count: int, queries: int, against: set[str], pause: float) -> None:
        self.pause = pause
        self.vectors, self.categories, self.queries = draw_vectors(count, queries)
        self.truths = [true_best(self.vectors, query) for query in self.queries]
        self.against = against
        self.index, self.cost = measure_build(lambda: searchers.build_index(self.vectors, self.categories))
        self.exact = {
            name: measure_build(partial(build, self.vectors))
            for name, build in searchers.EXACT.items()
            if name in against
        }

    def measure_limits(self) -> dict[str, float]:
        """Milliseconds of the plain matrix products that bound an exact search."""
        batch = self.queries[:BATCH]
        return {
            "one_pass": median_ms(lambda: self.vectors @ self.queries[0], 20),
            "product_with_64": median_ms(lambda: [rows @ batch.T for rows in np.array_split(self.vectors, 64)], 3),
        }

    def measure_one(self) -> dict[str, Any]:
        """Exact search, one query at a time."""
        searches = self._exact_searches()
        costs = {"ours": self.cost} | {name: cost for name, (_, cost) in self.exact.items()}
        report = self._compare(searches, split_queries(self.queries), self.truths, costs)
        answers = searches["ours"](self.queries)
        report["ours"]["equals"] = sum(answer == truth for answer, truth in zip(answers, self.truths, strict=True))
        report["ours"]["of"] = len(answers)
        return report

    def measure_batch(self) -> dict[str, Any]:
        """Exact search in batches; times are per query."""
        calls = [self.queries[:BATCH]] * 5
        truths = self.truths[:BATCH]
        return self._compare(self._exact_searches(), calls, truths, queries_per_call=len(calls[0]), calls_per_turn=1)

    def measure_filtered(self) -> dict[str, Any]:
        """Exact search filtered to one category; the categories take turns."""
        masks = [self.categories == number for number in range(CATEGORIES)]
        calls = [(row, row % CATEGORIES) for row in range(min(len(self.queries), 100))]
        truths = [true_best(self.vectors, self.queries[row], masks[category]) for row, category in calls]
        filtered = [searchers.index_search(self.index, Where(category=str(number))) for number in range(CATEGORIES)]
        unfiltered = searchers.index_search(self.index)
        searches: dict[str, Callable[[tuple[int, int]], Neighbours]] = {
            "ours": lambda call: filtered[call[1]](self.queries[[call[0]]]),
            "ours_unfiltered": lambda call: unfiltered(self.queries[[call[0]]]),
        }
        if "faiss" in self.against:
            faiss_search = searchers.faiss_filtered(self.vectors)
            searches["faiss"] = lambda call: faiss_search(masks[call[1]])(self.queries[[call[0]]])
        report = self._compare(searches, calls, truths)
        report["ours_unfiltered"].pop("recall")
        return report

    def measure_approximate(self) -> dict[str, Any]:
        """Approximate search, one query at a time and all in one call."""
        index, cost = measure_build(lambda: searchers.build_approximate_index(self.vectors, self.categories))
        searches, costs = {"ours": searchers.index_search(index)}, {"ours": cost}
        for name, build in searchers.APPROXIMATE.items():
            if name in self.against:
                settings, costs[name] = measure_build(partial(build, self.vectors))
                searches[name] = fastest_with_recall(settings, self.queries, self.truths)
        report = self._compare(searches, split_queries(self.queries), self.truths, costs)
        batches = [self.queries] * 3
        in_batches = self._compare(searches, batches, self.truths, queries_per_call=len(self.queries), calls_per_turn=1)
        for name, figures in in_batches.items():
            report[name]["per_second_in_batches"] = round(1000 / figures["median_ms"])
        return report | {"ours_with_tenth_gone": self._measure_with_deletions(index)}

    def _measure_with_deletions(self, index: ExactIndex) -> dict[str, Any]:
        """Delete every tenth item and search again, without a filter and filtered to one category."""
        deleted = np.arange(0, len(self.vectors), 10)
        index.update(build_rows([], [], []), items=deleted)
        remaining = np.ones(len(self.vectors), dtype=bool)
        remaining[deleted] = False
        queries = self.queries[:100]
        calls = split_queries(queries)
        truths = [true_best(self.vectors, query, remaining) for query in queries]
        report = self._compare({"ours": searchers.index_search(index)}, calls, truths)["ours"]
        in_category = remaining & (self.categories == 7)
        truths = [true_best(self.vectors, query, in_category) for query in queries]
        filtered = self._compare({"ours": searchers.index_search(index, Where(category="7"))}, calls, truths)["ours"]
        return {**report, "one_category": filtered}

    def _exact_searches(self) -> dict[str, Search]:
        return {"ours": searchers.index_search(self.index)} | {name: search for name, (search, _) in self.exact.items()}

    def _compare(self, *arguments: Any, **options: Any) -> dict[str, dict[str, Any]]:
        return compare_searches(*arguments, **options, pause=self.pause)


def split_queries(queries: Floats) -> list[Floats]:
    """Split queries (n, d) into n batches of one."""
    return [queries[[row]] for row in range(len(queries))]


def draw_vectors(count: int, queries: int) -> tuple[Floats, Ints, Floats]:
    """Draw unit vectors (n, d) in clusters, their categories (n), and queries near some of the vectors."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((CLUSTERS, DIM)).astype(np.float32)
    clusters = rng.integers(0, CLUSTERS, count)
    vectors = np.empty((count, DIM), dtype=np.float32)
    for rows in np.array_split(np.arange(count), -(-count // 100_000)):
        noise = 0.6 * rng.standard_normal((len(rows), DIM)).astype(np.float32)
        vectors[rows] = unit_rows(centres[clusters[rows]] + noise)
    targets = vectors[rng.integers(0, count, queries)]
    return vectors, clusters % CATEGORIES, unit_rows(targets + 0.08 * rng.standard_normal(targets.shape))


def true_best(vectors: Floats, query: Floats, mask: npt.NDArray[np.bool_] | None = None) -> list[int]:
    """Return the best `K` rows by float64 scores; a float32 pass preselects 200 rows."""
    scores = vectors @ query
    if mask is not None:
        scores[~mask] = -np.inf
    near = np.argpartition(scores, -200)[-200:]
    near = near[np.isfinite(scores[near])]
    exact = (vectors[near].astype(np.float64) * query).sum(axis=1).astype(np.float32)
    return near[np.lexsort((near, -exact))[:K]].tolist()  # type: ignore[no-any-return]


def measure_build(build: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
    """Call `build`; return its result, its time in seconds and the growth of the process in MiB."""
    gc.collect()
    before, started = memory_mb(), time.perf_counter()
    index = build()
    seconds = time.perf_counter() - started
    gc.collect()
    return index, {"build_s": round(seconds, 2), "memory_mb": round(memory_mb() - before)}


def fastest_with_recall(settings: list[Search], queries: Floats, truths: list[list[int]]) -> Search:
    """Return the first, fastest setting with a recall of at least `MIN_RECALL`; the last setting if none has it."""
    for search in settings:
        answers = search(queries)
        if np.mean([recall(truth, rows) for truth, rows in zip(truths, answers, strict=True)]) >= MIN_RECALL:
            return search
    return settings[-1]


def recall(truth: list[int], rows: list[int]) -> float:
    """Return the share of the true rows that were found."""
    return len(set(truth) & set(rows)) / len(truth)


def compare_searches(
    searches: Mapping[str, Callable[[Any], Neighbours]],
    calls: Sequence[Any],
    truths: list[list[int]],
    costs: Mapping[str, dict[str, float]] | None = None,
    *,
    queries_per_call: int = 1,
    calls_per_turn: int = CALLS_PER_TURN,
    pause: float = PAUSE,
) -> dict[str, dict[str, Any]]:
    """Let the searches take turns at `calls`, the arguments of each call; return median times per query, and recall.

    `truths` has the true rows of each call, or with several queries per call those of the queries, which all calls
    share. `costs` is added to the report of each search; `pause` is in seconds, before each turn.
    """
    times: dict[str, list[float]] = {name: [] for name in searches}
    recalls: dict[str, list[float]] = {name: [] for name in searches}
    for start in range(0, len(calls), calls_per_turn):
        for name, search in searches.items():
            if start >= OTHERS_CALLS and name != "ours":
                continue
            time.sleep(pause)
            for at in range(start, min(start + calls_per_turn, len(calls))):
                started = time.perf_counter()
                answers = search(calls[at])
                times[name].append((time.perf_counter() - started) * 1000 / queries_per_call)
                expected = truths if queries_per_call > 1 else truths[at : at + 1]
                recalls[name] += [recall(truth, rows) for truth, rows in zip(expected, answers, strict=True)]
    ours = statistics.median(times["ours"])
    return {
        name: {
            "median_ms": round(statistics.median(times[name]), 3),
            "times_ours": round(statistics.median(times[name]) / ours, 2),
            "recall": round(float(np.mean(recalls[name])), 4),
            **(costs or {}).get(name, {}),
        }
        for name in searches
    }


def median_ms(work: Callable[[], Any], times: int) -> float:
    """Call `work` so many times; return the median in milliseconds."""
    durations = []
    for _ in range(times):
        started = time.perf_counter()
        work()
        durations.append((time.perf_counter() - started) * 1000)
    return round(statistics.median(durations), 2)


def memory_mb() -> float:
    """Return the resident memory of this process in MiB."""
    return float(psutil.Process().memory_info().rss / 2**20)


if __name__ == "__main__":
    main()
