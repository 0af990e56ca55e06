"""The benchmark of training steps: both loops do the same work."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import training_steps
from benchmarks.training import OURS, PLAIN
from benchmarks.training_setting import Setting
from benchmarks.training_steps import PlainLoop, alternate, build_data, compare, compare_run
from ml.training.model import build_encoder

ROOT = Path(__file__).resolve().parents[2]
SETTING = Setting("efficientnet-lite0", batch_size=4, steps=2, threads=1, side=32)
ALL_STAGES = 18


def options(**changes):
    return training_steps.build_options(SETTING, **changes)


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_both_loops_have_the_same_loss_on_the_same_batch():
    """With every stage frozen, so that no path is dropped by chance. The order within a batch does not matter."""
    chosen = options(freeze_stages=ALL_STAGES)
    (ours, plain), *_ = alternate(PlainLoop(chosen), chosen, 1).losses
    assert ours == pytest.approx(plain, abs=0.01)  # the cached maps are rounded to float16


def test_both_loops_start_from_the_same_network_and_pictures():
    chosen = options()
    plain, encoder = PlainLoop(chosen), build_encoder(chosen, len(training_steps.CLASSES))
    pictures = build_data(encoder, chosen, 4).train_cache.array[:, 0]
    encoder.eval(), plain.network.eval()
    with torch.inference_mode():
        ours = encoder(torch.from_numpy(pictures).permute(0, 3, 1, 2))
        theirs = plain.network(plain.pictures)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_both_loops_train_only_the_stages_that_are_not_frozen():
    chosen = options(freeze_stages=6)
    plain = PlainLoop(chosen)
    plain()
    has_gradient = {name for name, weight in plain.network.named_parameters() if weight.grad is not None}
    encoder = build_encoder(chosen, len(training_steps.CLASSES))
    frozen = {id(weight) for stage in encoder.frozen_stages for weight in stage.parameters()}
    trained = {name for name, weight in encoder.network.named_parameters() if id(weight) not in frozen}
    assert has_gradient == trained
    assert len(frozen) > 20


def test_the_loops_take_turns():
    order = []

    def rival() -> float:
        order.append("rival")
        return 0.0

    watcher = alternate(rival, options(freeze_stages=ALL_STAGES), 3)
    assert order == ["rival"] * 3
    assert len(watcher.ours) == len(watcher.theirs) == 3
    assert min(watcher.ours) > 0


def test_a_speed_is_the_batch_over_the_median_without_the_warm_up():
    speeds = compare([100.0, 1.0, 2.0, 4.0], [100.0, 8.0, 8.0, 8.0], SETTING)
    assert speeds == {"photos_per_second": 2.0, "plain": 0.5, "ratio": 4.0}


def test_cached_maps_have_the_shape_that_training_starts_from():
    chosen = options(freeze_stages=6)
    encoder = build_encoder(chosen, len(training_steps.CLASSES))
    data = build_data(encoder, chosen, 8)
    frozen_features = encoder.frozen_features(data.train_cache.batch(np.arange(2), np.zeros(2, dtype=np.int64)))
    assert data.train_cache.array.shape[:2] == (8, 1)
    assert encoder.outputs(frozen_features).shape == (2, len(training_steps.CLASSES))


def test_a_slower_rival_makes_a_larger_ratio():
    chosen = options(freeze_stages=ALL_STAGES)
    once = PlainLoop(chosen)

    def thrice() -> float:
        return [once() for _ in range(3)][-1]

    quick, slow = (compare_run(rival, chosen, SETTING)["plain"] for rival in (once, thrice))
    assert slow < quick


def test_the_program_prints_one_json_object():
    words = ["--side", "32", "--batch-size", "2", "--steps", "1", "--threads", "1"]
    command = [sys.executable, "-m", "benchmarks.training", *words]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=170)
    output = json.loads(result.stdout)
    assert (output["ours"], output["plain"]) == (OURS, PLAIN)
    assert output["batch_size"] == 2
    with_setting, without = output["with_allocator_setting"], output["without_allocator_setting"]
    assert set(without) < set(with_setting)
    comparisons = [value for name, value in with_setting.items() if name != "device"]
    assert len(comparisons) >= 5
    assert all(set(row) == {"photos_per_second", "plain", "ratio"} for row in comparisons)


def test_starting_the_program_imports_no_torch():
    """Its child processes set the allocator before they import torch."""
    code = "import sys, benchmarks.training; print('torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"
