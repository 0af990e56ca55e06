"""The time and the memory of the figures of `ml evaluate`, without the network. Prints one JSON object.

    python -m benchmarks.evaluation [--photos 100000] [--dim 100] [--labels 17] [--owners 1000] [--resamples 1000]

The vectors are random unit vectors, a little alike within a label; every photo asks and every photo answers. Each part
runs in a process of its own, so that its peak memory is its own; `base` is what numpy and the vectors take alone.
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
    """Drawn anew in each process, always the same."""

    def __init__(self, options: argparse.Namespace) -> None:
        rng = np.random.default_rng(0)
        n = options.photos
        self.labels = rng.integers(0, options.labels, n)
        self.owners = rng.integers(0, options.owners, n)
        centres = rng.normal(size=(options.labels, options.dim)).astype(np.float32)
        own = rng.normal(size=(n, options.dim)).astype(np.float32)
        self.vectors = unit_rows(own + 0.5 * centres[self.labels])
        self.resamples = options.resamples


def by_label(photos: Photos) -> None:
    given = (photos.labels, photos.labels, photos.owners, photos.owners)
    label_scores(photos.vectors, photos.vectors, *given)


def by_garment(photos: Photos) -> None:
    target_ranks(photos.vectors, photos.vectors, np.arange(len(photos.vectors)))


def with_intervals(photos: Photos) -> None:
    """Twenty-six figures, as many as a metric encoder has."""
    scores = np.random.default_rng(1).random((len(photos.vectors), 26))
    figures = {str(at): Metric.mean_of(column) for at, column in enumerate(scores.T)}
    estimate_metrics(QueryScores(photos.owners, figures), photos.resamples)


def nothing(_: Photos) -> None:
    """What is there before anything is measured."""


PARTS = {"base": nothing, "label_scores": by_label, "target_ranks": by_garment, "intervals": with_intervals}


def measured(part: Callable[[Photos], None], options: argparse.Namespace) -> dict[str, float]:
    photos = Photos(options)
    started = time.perf_counter()
    part(photos)
    taken = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MB
    return {"seconds": round(taken, 2), "peak_mb": round(peak)}


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
            result[name] = pool.apply(measured, (part, options))
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
