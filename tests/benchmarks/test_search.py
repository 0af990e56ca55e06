"""The benchmark of searches: recall of every library, errors."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import search, searchers
from ml.search import Where

ROOT = Path(__file__).resolve().parents[2]


def test_every_part_finds_what_brute_force_finds() -> None:
    command = [sys.executable, "-m", "benchmarks.search", "--n", "6000", "--queries", "20", "--pause", "0"]
    report = json.loads(subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout)
    assert report["one"].keys() == report["batch"].keys() == {"ours", "faiss", "numpy", "torch"}
    assert report["one"]["ours"]["equals"] == 20
    assert {way["recall"] for part in ("one", "batch") for way in report[part].values()} == {1.0}
    assert report["filtered"]["ours"]["recall"] == report["filtered"]["faiss"]["recall"] == 1.0
    assert report["approximate"]["ours_with_tenth_gone"]["one_category"]["recall"] == 1.0
    assert report["limit_ms"]["one_pass"] > 0


def test_an_unknown_library_is_refused_by_name() -> None:
    command = [sys.executable, "-m", "benchmarks.search", "--against", "faiss,oracle"]
    result = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    assert (result.returncode, "unknown: oracle" in result.stderr) == (2, True)


@pytest.mark.parametrize("name", ["faiss_ivf", "faiss_hnsw"])
def test_approximate_libraries_are_measured_in_a_setting_with_enough_recall(name: str) -> None:
    vectors, _, queries = search.drawn(12_000, 20)
    truths = [search.true_best(vectors, query) for query in queries]
    settings = searchers.APPROXIMATE[name](vectors)
    chosen = search.good_enough(settings, queries, truths)
    found = chosen(queries)
    assert np.mean([search.recall(*pair) for pair in zip(truths, found, strict=True)]) >= search.GOOD_ENOUGH


def test_what_is_near_to_a_query_is_mostly_of_its_own_category() -> None:
    vectors, categories, queries = search.drawn(20_000, 30)
    index = searchers.ours_of(vectors, categories)
    nearest = [found[0] for found in searchers.searching(index)(queries)]
    shares = [
        np.mean(categories[search.true_best(vectors, query)] == categories[row])
        for query, row in zip(queries, nearest, strict=True)
    ]
    assert np.mean(shares) > 0.4
    assert searchers.searching(index, Where(category="3"))(queries[:1])[0][0] in np.flatnonzero(categories == 3)
