"""Benchmark: searches among many vectors, ours against other libraries, in one run. Prints one JSON object.

    python -m benchmarks.search --n 1000000 --against faiss,numpy,torch,usearch,faiss_ivf,faiss_hnsw,hnswlib

Vectors are drawn in clusters, as those of garments are; a cluster has one of twenty categories, so that the neighbours
of a query share its category. The libraries take turns, so that other load on the machine affects all of them; between
two of them is a pause, because busy-waiting threads of one library would slow the next. Medians count; `times_ours` is
a library's time divided by ours.

Parts (`--parts`): `one` query at a time; a `batch` of 64; `filtered` to one category, that of the query and others;
`approximate`, each library in its quickest setting with a recall of 0.99, and ours again with deleted rows and filters.
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
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import psutil

from benchmarks import searchers
from benchmarks.searchers import ITEMS, Found, Search
from ml.search import Where, build_rows
from ml.vectors import Floats, unit_rows

DIM = 100
CLUSTERS, CATEGORIES = 2000, 20
TURN = 10  # queries
PAUSE = 0.3  # seconds between two libraries
BATCH = 64
GOOD_ENOUGH = 0.99
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
    known = searchers.EXACT.keys() | searchers.APPROXIMATE.keys()
    if unknown := (against - known) | (parts - set(PARTS)):
        names = f"the libraries are {', '.join(sorted(known))}, the parts {', '.join(PARTS)}"
        parser.error(f"unknown: {', '.join(sorted(unknown))}; {names}")
    bench = Bench(options.n, options.queries, against, options.pause)
    report: dict[str, Any] = {"n": options.n, "k": ITEMS, "cores": os.cpu_count(), "limit_ms": bench.limits()}
    for part in PARTS:
        if part in parts:
            report[part] = getattr(bench, part)()
    print(json.dumps(report, indent=2))


class Bench:
    """Vectors, queries with their true answers, and the indexes built of the vectors."""

    def __init__(self, count: int, queries: int, against: set[str], pause: float) -> None:
        self.pause = pause
        self.vectors, self.categories, self.queries = drawn(count, queries)
        self.truths = [true_best(self.vectors, query) for query in self.queries]
        self.against = against
        self.index, self.built = built(lambda: searchers.ours_of(self.vectors, self.categories))
        self.exact = {
            name: built(partial_of(way, self.vectors)) for name, way in searchers.EXACT.items() if name in against
        }

    def limits(self) -> dict[str, float]:
        some = self.queries[:BATCH]
        return {
            "one_pass": median_ms(lambda: self.vectors @ self.queries[0], 20),
            "product_with_64": median_ms(lambda: [rows @ some.T for rows in np.array_split(self.vectors, 64)], 3),
        }

    def one(self) -> dict[str, Any]:
        ways = {"ours": searchers.searching(self.index)} | {name: way for name, (way, _) in self.exact.items()}
        costs = {"ours": self.built} | {name: cost for name, (_, cost) in self.exact.items()}
        report = self._compared(ways, [self.queries[[place]] for place in range(len(self.queries))], self.truths, costs)
        answers = ways["ours"](self.queries)
        report["ours"]["equals"] = sum(answer == truth for answer, truth in zip(answers, self.truths, strict=True))
        report["ours"]["of"] = len(answers)
        return report

    def batch(self) -> dict[str, Any]:
        ways = {"ours": searchers.searching(self.index)} | {name: way for name, (way, _) in self.exact.items()}
        some = [self.queries[:BATCH]] * 5
        return self._compared(ways, some, self.truths[:BATCH], per=len(some[0]), turn=1)

    def filtered(self) -> dict[str, Any]:
        """Filtered queries; the categories take turns."""
        masks = [self.categories == number for number in range(CATEGORIES)]
        asked = [(place, place % CATEGORIES) for place in range(min(len(self.queries), 100))]
        truths = [true_best(self.vectors, self.queries[place], masks[number]) for place, number in asked]
        unfiltered = searchers.searching(self.index)
        ways: dict[str, Callable[[int], Found]] = {
            "ours": lambda turn: self._filtered(*asked[turn]),
            "ours_unfiltered": lambda turn: unfiltered(self.queries[[asked[turn][0]]]),
        }
        if "faiss" in self.against:
            among = searchers.faiss_with_selector(self.vectors)
            ways["faiss"] = lambda turn: among(masks[asked[turn][1]])(self.queries[[asked[turn][0]]])
        report = self._compared(ways, range(len(asked)), truths)
        report["ours_unfiltered"].pop("recall")
        return report

    def _compared(self, *words: Any, **options: Any) -> dict[str, dict[str, Any]]:
        return compared(*words, **options, pause=self.pause)

    def _filtered(self, place: int, number: int) -> Found:
        return searchers.searching(self.index, Where(category=str(number)))(self.queries[[place]])

    def approximate(self) -> dict[str, Any]:
        index, cost = built(lambda: searchers.approximate_of(self.vectors, self.categories))
        ways, costs = {"ours": searchers.searching(index)}, {"ours": cost}
        for name, make in searchers.APPROXIMATE.items():
            if name in self.against:
                settings, costs[name] = built(partial_of(make, self.vectors))
                ways[name] = good_enough(settings, self.queries, self.truths)
        singly = [self.queries[[place]] for place in range(len(self.queries))]
        report = self._compared(ways, singly, self.truths, costs)
        together = self._compared(ways, [self.queries] * 3, self.truths, per=len(self.queries), turn=1)
        for name, one in together.items():
            report[name]["per_second_in_batches"] = round(1000 / one["median_ms"])
        return report | {"ours_with_tenth_gone": self._with_a_tenth_gone(index)}

    def _with_a_tenth_gone(self, index: Any) -> dict[str, Any]:
        gone = np.arange(0, len(self.vectors), 10)
        index.update(build_rows([], [], []), items=gone)
        left = np.ones(len(self.vectors), dtype=bool)
        left[gone] = False
        some = self.queries[:100]
        truths = [true_best(self.vectors, query, left) for query in some]
        singly = [some[[place]] for place in range(len(some))]
        report = self._compared({"ours": searchers.searching(index)}, singly, truths)["ours"]
        here = left & (self.categories == 7)
        truths = [true_best(self.vectors, query, here) for query in some]
        filtered = self._compared({"ours": searchers.searching(index, Where(category="7"))}, singly, truths)["ours"]
        return {**report, "one_category": filtered}


def drawn(count: int, queries: int) -> tuple[Floats, Ints, Floats]:
    """Unit vectors (n, d) in clusters, their categories (n), and queries near some of the vectors."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((CLUSTERS, DIM)).astype(np.float32)
    clusters = rng.integers(0, CLUSTERS, count)
    vectors = np.empty((count, DIM), dtype=np.float32)
    for rows in np.array_split(np.arange(count), -(-count // 100_000)):
        noise = 0.6 * rng.standard_normal((len(rows), DIM)).astype(np.float32)
        vectors[rows] = unit_rows(centres[clusters[rows]] + noise)
    seen = vectors[rng.integers(0, count, queries)]
    return vectors, clusters % CATEGORIES, unit_rows(seen + 0.08 * rng.standard_normal(seen.shape))


def true_best(vectors: Floats, query: Floats, mask: npt.NDArray[np.bool_] | None = None) -> list[int]:
    """The best rows by float64 scores; a float32 pass preselects 200 rows."""
    scores = vectors @ query
    if mask is not None:
        scores[~mask] = -np.inf
    near = np.argpartition(scores, -200)[-200:]
    near = near[np.isfinite(scores[near])]
    exact = (vectors[near].astype(np.float64) * query).sum(axis=1).astype(np.float32)
    return near[np.lexsort((near, -exact))[:ITEMS]].tolist()  # type: ignore[no-any-return]


def partial_of(make: Callable[[Floats], Any], vectors: Floats) -> Callable[[], Any]:
    return lambda: make(vectors)


def built(make: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
    """Call `make`; return its result, and its time and memory growth."""
    gc.collect()
    before, started = memory_mb(), time.perf_counter()
    made = make()
    took = time.perf_counter() - started
    gc.collect()
    return made, {"build_s": round(took, 2), "memory_mb": round(memory_mb() - before)}


def good_enough(settings: list[Search], queries: Floats, truths: list[list[int]]) -> Search:
    """The first and therefore quickest setting with a recall of `GOOD_ENOUGH`; otherwise the last one."""
    for search in settings:
        found = search(queries)
        if np.mean([recall(truth, rows) for truth, rows in zip(truths, found, strict=True)]) >= GOOD_ENOUGH:
            return search
    return settings[-1]


def recall(truth: list[int], rows: list[int]) -> float:
    return len(set(truth) & set(rows)) / len(truth)


def compared(
    ways: Mapping[str, Callable[[Any], Found]],
    asked: Any,
    truths: list[list[int]],
    costs: Mapping[str, dict[str, float]] | None = None,
    per: int = 1,
    turn: int = TURN,
    pause: float = PAUSE,
) -> dict[str, dict[str, Any]]:
    """Let the libraries take turns at the calls `asked`; times are per query, of which each call has `per`."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    found: dict[str, list[float]] = {name: [] for name in ways}
    for start in range(0, len(asked), turn):
        for name, search in ways.items():
            if start >= 200 and name != "ours":
                continue
            time.sleep(pause)
            for place in range(start, min(start + turn, len(asked))):
                started = time.perf_counter()
                answers = search(asked[place])
                times[name].append((time.perf_counter() - started) * 1000 / per)
                right = truths if per > 1 else truths[place : place + 1]
                found[name] += [recall(truth, rows) for truth, rows in zip(right, answers, strict=True)]
    ours = statistics.median(times["ours"])
    return {
        name: {
            "median_ms": round(statistics.median(times[name]), 3),
            "times_ours": round(statistics.median(times[name]) / ours, 2),
            "recall": round(float(np.mean(found[name])), 4),
            **(costs or {}).get(name, {}),
        }
        for name in ways
    }


def median_ms(work: Callable[[], Any], times: int) -> float:
    taken = []
    for _ in range(times):
        started = time.perf_counter()
        work()
        taken.append((time.perf_counter() - started) * 1000)
    return round(statistics.median(taken), 2)


def memory_mb() -> float:
    return float(psutil.Process().memory_info().rss / 2**20)


if __name__ == "__main__":
    main()
