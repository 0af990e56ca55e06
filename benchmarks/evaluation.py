"""Benchmark: time and memory of the metrics of `ml evaluate`, without the network. Prints one JSON object.

    python -m benchmarks.evaluation [--photos 100000] [--dim 100] [--labels 17] [--owners 1000] [--resamples 1000]

The vectors are random unit vectors, slightly similar within a label; every photo is both query and gallery. Each part
runs in a process of its own, to measure its own peak memory; `base` is that of numpy and the vectors alone.
"""

import argparse
import json
import multiprocessing
import resource
import sys
import time
from collections.abc import Callable

import numpy as np

from ml.evaluation.intervals import Metric, QueryScores, estimate_metrics
from ml.evaluation.retrieval import label_scores, target_ranks
from ml.vectors import unit_rows

MB = 1024 if sys.platform != "darwin" else 1024 * 1024  # ru_maxrss comes in KiB, on macOS in bytes


class Photos:
    """Random vectors with labels and owners, from a fixed seed."""

    def __init__(self, options: argparse.Namespace) -> None:
        rng = np.random.default_rng(0)
        n = options.photos
        self.labels = rng.integers(0, options.labels, n)
        self.owners = rng.integers(0, options.owners, n)
        centres = rng.normal(size=(options.labels, options.dim)).astype(np.float32)
        noise = rng.normal(size=(n, options.dim)).astype(np.float32)
        self.vectors = unit_rows(noise + 0.5 * centres[self.labels])
        self.resamples = options.resamples


def measure_label_scores(photos: Photos) -> None:
    """Run the metrics by label."""
    columns = (photos.labels, photos.labels, photos.owners, photos.owners)
    label_scores(photos.vectors, photos.vectors, *columns)


def measure_target_ranks(photos: Photos) -> None:
    """Run the ranks of each photo's own item."""
    target_ranks(photos.vectors, photos.vectors, np.arange(len(photos.vectors)))


def measure_intervals(photos: Photos) -> None:
    """Run the confidence intervals of 26 metrics, as many as a metric encoder has."""
    scores = np.random.default_rng(1).random((len(photos.vectors), 26))
    metrics = {str(at): Metric.mean_of(column) for at, column in enumerate(scores.T)}
    estimate_metrics(QueryScores(photos.owners, metrics), photos.resamples)


def measure_base(_: Photos) -> None:
    """Measure only the start of the process."""


PARTS = {
    "base": measure_base,
    "label_scores": measure_label_scores,
    "target_ranks": measure_target_ranks,
    "intervals": measure_intervals,
}


def run_part(part: Callable[[Photos], None], options: argparse.Namespace) -> dict[str, float]:
    """Return the seconds of a part and the peak memory of this process in MiB."""
    photos = Photos(options)
    started = time.perf_counter()
    part(photos)
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MB
    return {"seconds": round(seconds, 2), "peak_mb": round(peak)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=100)
    parser.add_argument("--labels", type=int, default=17)
    parser.add_argument("--owners", type=int, default=1_000)
    parser.add_argument("--resamples", type=int, default=1_000)
    options = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    result: dict[str, object] = dict(vars(options))
    for name, part in PARTS.items():
        with context.Pool(1) as pool:
            result[name] = pool.apply(run_part, (part, options))
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
