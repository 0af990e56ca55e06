"""Options for speed must not change the results: bfloat16 arithmetic and torch.compile."""

import copy
import shutil
from functools import partial

import numpy as np
import pytest
import torch

from ml.training.dataset import Batch
from ml.training.loop import Run
from tests.helpers.tiny_model import tiny_encoder, tiny_pictures
from tests.helpers.tiny_training import classifier_options, metric_options, prepare_run


def batch_of(run: Run, count: int) -> Batch:
    """The clean views of the first train photos."""
    photos = np.arange(count)
    inputs = run.data.train_cache.batch(photos, np.zeros(count, dtype=np.int64))
    labels, items = (torch.from_numpy(numbers[photos]) for numbers in (run.data.train.labels, run.data.train.items))
    return Batch(inputs, labels, items)


def test_vectors_are_compared_in_float32_when_the_network_computes_in_bfloat16(manifest, cache, tmp_path):
    run = prepare_run(manifest, metric_options(precision="bfloat16"), tmp_path, cache)
    run.encoder.eval()
    batch, draw = batch_of(run, 8), np.random.default_rng(0)
    with torch.autocast("cpu", torch.bfloat16):
        loss, _ = run.task.batch_loss(run.encoder, batch, draw)
        outputs = run.encoder(batch.inputs).float()
        rounded = run.task.loss(outputs, batch.labels, batch.items).total
    exact = run.task.loss(outputs, batch.labels, batch.items).total
    assert loss.item() == exact.item()
    assert rounded.item() != exact.item()


def test_bfloat16_trains_weights_that_stay_float32(manifest, cache, tmp_path):
    run = prepare_run(manifest, classifier_options(precision="bfloat16", epochs=1), tmp_path, cache)
    with run._precision():
        loss, _ = run.task.batch_loss(run.encoder, batch_of(run, 8), np.random.default_rng(0))
        layer = torch.nn.functional.linear(torch.ones(1, 2), torch.ones(3, 2))
    assert layer.dtype == torch.bfloat16
    loss.backward()
    trained = [weight for weight in run.encoder.parameters() if weight.grad is not None]
    assert trained
    assert {weight.dtype for weight in run.encoder.parameters()} == {torch.float32}
    assert {weight.grad.dtype for weight in trained} == {torch.float32}


@pytest.mark.parametrize("precision", ["auto", "float32"])
def test_a_cpu_computes_in_float32_unless_told_otherwise(manifest, cache, tmp_path, precision):
    run = prepare_run(manifest, classifier_options(precision=precision), tmp_path, cache)
    with run._precision():
        assert not torch.is_autocast_enabled("cpu")


INDUCTOR = pytest.param(
    "inductor",
    marks=[
        pytest.mark.nightly,  # it starts a C++ compiler: seconds, but minutes where the cores are busy
        pytest.mark.timeout(600),
        pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler on a CPU"),
    ],
)


@pytest.mark.parametrize("backend", ["eager", INDUCTOR])
def test_compiled_parts_give_the_same_outputs_and_gradients(backend, monkeypatch):
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=backend))
    eager = tiny_encoder(classifier_options(freeze_stages=1, drop=0.0))
    compiled = copy.deepcopy(eager)
    compiled.compile_parts()
    pictures = tiny_pictures(4)
    results = []
    for encoder in (eager, compiled):
        encoder.set_training(head_only=False)
        outputs = encoder(pictures)
        outputs.square().sum().backward()
        results.append([outputs.detach(), *(weight.grad for weight in encoder.parameters() if weight.grad is not None)])
    assert len(results[0]) == len(results[1]) > 4
    for expected, actual in zip(*results, strict=True):
        torch.testing.assert_close(actual, expected, rtol=1e-3, atol=1e-4)
    assert eager.state_dict().keys() == compiled.state_dict().keys()  # checkpoints fit either
