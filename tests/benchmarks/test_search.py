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
    assert {figures["recall"] for part in ("one", "batch") for figures in report[part].values()} == {1.0}
    assert report["filtered"]["ours"]["recall"] == report["filtered"]["faiss"]["recall"] == 1.0
    assert report["approximate"]["ours_with_tenth_gone"]["one_category"]["recall"] == 1.0
    assert report["limit_ms"]["one_pass"] > 0


def test_an_unknown_library_is_refused_by_name() -> None:
    command = [sys.executable, "-m", "benchmarks.search", "--against", "faiss,oracle"]
    result = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    assert (result.returncode, "unknown: oracle" in result.stderr) == (2, True)


@pytest.mark.parametrize("name", ["faiss_ivf", "faiss_hnsw"])
def test_approximate_libraries_are_measured_in_a_setting_with_enough_recall(name: str) -> None:
    vectors, _, queries = search.draw_vectors(12_000, 20)
    truths = [search.true_best(vectors, query) for query in queries]
    settings = searchers.APPROXIMATE[name](vectors)
    chosen = search.fastest_with_recall(settings, queries, truths)
    answers = chosen(queries)
    assert np.mean([search.recall(*pair) for pair in zip(truths, answers, strict=True)]) >= search.MIN_RECALL


def test_most_nearest_neighbours_share_the_category_of_the_query() -> None:
    vectors, categories, queries = search.draw_vectors(20_000, 30)
    index = searchers.build_index(vectors, categories)
    nearest = [rows[0] for rows in searchers.index_search(index)(queries)]
    shares = [
        np.mean(categories[search.true_best(vectors, query)] == categories[row])
        for query, row in zip(queries, nearest, strict=True)
    ]
    assert np.mean(shares) > 0.4
    assert searchers.index_search(index, Where(category="3"))(queries[:1])[0][0] in np.flatnonzero(categories == 3)
