"""The benchmarks of embedding: one photo, batches, and a whole catalogue."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.embed import EAGER, compare_times, compare_vectors, count_multiplications, load_eager, load_runtimes
from ml.inference.embedder import load_embedder
from tests.helpers.small_encoder import random_pixels, small_encoder

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("embed") / "small"
    small_encoder(folder)
    return folder


def test_every_runtime_computes_the_same_vectors(folder):
    pixels = random_pixels(3)
    vectors = {name: embed(pixels) for name, embed in load_runtimes(folder).items() if "bfloat16" not in name}
    assert {EAGER, "onnx"} <= set(vectors)
    assert all(np.allclose(theirs, vectors[EAGER], atol=1e-4) for theirs in vectors.values())


def test_eager_takes_more_than_one_batch(folder):
    pixels = random_pixels(33)
    assert np.allclose(load_eager(folder)(pixels), load_embedder(folder, "onnx").embed_batches([pixels]), atol=1e-4)


def test_runtimes_take_turns_after_a_warm_up():
    turns = []
    rivals = {name: lambda pixels, name=name: turns.append(name) or pixels for name in (EAGER, "other")}
    found = compare_times(rivals, np.zeros((4, 1), np.float32), rounds=2)
    assert turns == 3 * [EAGER, "other"]
    assert found[EAGER]["times_eager"] == 1.0
    assert set(found["other"]) == {"ms", "photos_per_second", "times_eager"}


def test_compare_vectors_counts_unchanged_first_answers():
    exact = [np.eye(3, dtype=np.float32), np.eye(3, dtype=np.float32)]
    turned = [np.eye(3, dtype=np.float32), np.eye(3, dtype=np.float32)[[1, 0, 2]]]
    assert compare_vectors(exact, exact) == {"cosine_mean": 1.0, "cosine_min": 1.0, "first_unchanged": 1.0}
    assert compare_vectors(turned, exact) == {
        "cosine_mean": pytest.approx(4 / 6, abs=1e-5),
        "cosine_min": 0.0,
        "first_unchanged": 0.3333,
    }


def test_the_multiplications_of_a_network_are_counted(folder):
    """ResNet-18 has 1.814e9 of them in its convolutions at 224 pixels, and 49 times fewer at 32."""
    assert count_multiplications(folder) == pytest.approx(1.814e9 / 49, rel=0.01)


def test_the_bulk_benchmark_embeds_everything_and_prints_one_json_object() -> None:
    """On SQLite, whatever the tests run on: it wants an empty database."""
    words = ["-m", "benchmarks.bulk", "--photos", "6", "--rounds", "1", "--longest", "120", "--runtime", "onnx"]
    told = subprocess.run(
        [sys.executable, *words],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if name != "DATABASE_URL"},
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(told.stdout)
    assert (found["photos"], found["runtime"]) == (6, "onnx")
    for unit in ("per_second", "per_cpu_second"):
        assert found[unit]["ratio"] == pytest.approx(found[unit]["bulk"] / found[unit]["forward_only"], rel=0.02)
