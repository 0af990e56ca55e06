"""Cross-batch memory, compared with a ring buffer in plain Python."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from ml.training.losses import MetricLoss
from tests.helpers.naive_losses import OPTIONS, mean_of_losses_above_zero, unit


def batches_of(count: int) -> list[tuple[np.ndarray, list[int]]]:
    draw = np.random.default_rng(9)
    return [(unit(draw.normal(size=(10, 8)) + 0.3), draw.integers(0, 3, 10).tolist()) for _ in range(count)]


def remembered_triplet_loss(batch, labels, memory, margin) -> float:
    """The mean loss of the triplets of the batch's rows with the vectors in memory, which include the batch itself."""
    losses = []
    for anchor, (vector, label) in enumerate(zip(batch, labels, strict=True)):
        positives = [v for v, other, row in memory if other == label and row != anchor]
        negatives = [v for v, other, _ in memory if other != label]
        losses += [margin - float(vector @ p) + float(vector @ n) for p in positives for n in negatives]
    return mean_of_losses_above_zero(losses)


@pytest.mark.parametrize("size", [10, 20, 25])
def test_a_memory_pairs_a_batch_with_the_last_vectors_before_it(size):
    """Of memories of one batch, of two, and of two and a half, which overwrites a part of one batch."""
    loss = MetricLoss(replace(OPTIONS, label_size=0, miner="all", margin=0.3, memory=size), 3)
    places: list = [None] * size  # (vector, label, row of the batch that is new); a ring
    written = 0
    for batch, labels in batches_of(5):
        places = [place and (*place[:2], None) for place in places]
        for row, (vector, label) in enumerate(zip(batch, labels, strict=True)):
            places[written % size] = (vector, label, row)
            written += 1
        value = loss(torch.tensor(batch, dtype=torch.float32), torch.tensor(labels), torch.arange(10))
        expected = remembered_triplet_loss(batch, labels, [place for place in places if place], 0.3)
        assert value.label == pytest.approx(expected, rel=1e-4)


def test_only_the_new_vectors_get_a_gradient():
    loss = MetricLoss(replace(OPTIONS, label_size=0, label_loss="supcon", memory=20, identity_loss="none"), 3)
    outputs = [torch.tensor(batch, dtype=torch.float32, requires_grad=True) for batch, _ in batches_of(2)]
    for rows, (_, labels) in zip(outputs, batches_of(2), strict=True):
        total = loss(rows, torch.tensor(labels), torch.arange(10)).total
    total.backward()
    assert outputs[0].grad is None
    assert outputs[1].grad.any()


def test_a_memory_continues_from_a_checkpoint(tmp_path):
    options = replace(OPTIONS, label_loss="supcon", memory=25)
    assert MetricLoss(options, 3).has_memory
    assert not MetricLoss(OPTIONS, 3).has_memory
    batches = [
        (torch.tensor(batch, dtype=torch.float32), torch.tensor(labels), torch.arange(10))
        for batch, labels in batches_of(4)
    ]
    whole, first = MetricLoss(options, 3), MetricLoss(options, 3)
    expected = [whole(*batch).label for batch in batches]
    for batch in batches[:2]:
        first(*batch)
    torch.save(first.state_dict(), tmp_path / "state.pt")
    second = MetricLoss(options, 3)
    second.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert [second(*batch).label for batch in batches[2:]] == expected[2:]


def test_proxies_are_parameters_and_a_memory_is_a_buffer():
    assert [name for name, _ in MetricLoss(replace(OPTIONS, label_loss="arcface"), 3).named_parameters()] == ["label.W"]
    remembering: nn.Module = MetricLoss(replace(OPTIONS, memory=10), 3)
    assert list(remembering.parameters()) == []
    assert {name for name, _ in remembering.named_buffers()} == {"label.embedding_memory", "label.label_memory"}
