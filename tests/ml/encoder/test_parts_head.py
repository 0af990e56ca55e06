"""The head of two parts, label and item, with prototypes."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from ml.encoder.card import Card
from ml.encoder.folder import read_card, read_weights, write_encoder
from ml.encoder.network import (
    EncoderNetwork,
    PartsHead,
    build_head,
    export_onnx,
    network_from_card,
    network_weights,
    round_filters,
    unit_parts,
)
from ml.formats.encoder_folder import EncoderCorrupt
from ml.images.preprocess import Preprocess
from tests.helpers.errors import raises_code

CHANNELS, DIM, LABEL_SIZE, SHARE = 9, 7, 3, 0.4


def build_parts_head(labels: int = 0, seed: int = 0) -> PartsHead:
    torch.manual_seed(seed)
    return PartsHead(CHANNELS, DIM, LABEL_SIZE, SHARE, labels)


@pytest.fixture
def features() -> torch.Tensor:
    return torch.rand(6, CHANNELS, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def prototypes() -> torch.Tensor:
    return nn.functional.normalize(torch.randn(4, LABEL_SIZE, generator=torch.Generator().manual_seed(2)))


def cosine(one, other) -> float:
    one, other = np.asarray(one, dtype=float), np.asarray(other, dtype=float)
    return float(one @ other / np.sqrt(one @ one) / np.sqrt(other @ other))


def mean_of_prototypes(vector, prototypes, inverse_temperature: float) -> np.ndarray:
    """Return the normalised mean of the prototypes, weighted by exp(inverse_temperature x cosine), in a loop."""
    total = np.zeros(len(vector))
    for prototype in prototypes:
        total += np.exp(inverse_temperature * float(np.dot(vector, prototype))) * prototype
    return total / np.sqrt((total**2).sum())


# --- the two parts


def test_the_parts_are_the_two_normalised_ends_of_the_vector():
    label, item = unit_parts(torch.tensor([[3.0, 4.0, 0.0, 0.0, 2.0]]), 2)
    assert label.tolist() == [[pytest.approx(0.6), pytest.approx(0.8)]]
    assert item.tolist() == [[0.0, 0.0, 1.0]]


def test_without_a_label_part_both_parts_are_the_whole_vector():
    label, item = unit_parts(torch.tensor([[3.0, 4.0]]), 0)
    assert torch.equal(label, item)
    assert label.tolist() == [[pytest.approx(0.6), pytest.approx(0.8)]]


def test_zero_vectors_stay_zero():
    label, item = unit_parts(torch.zeros(1, 4), 2)
    assert not label.any()
    assert not item.any()


@pytest.mark.parametrize("share", [0.1, 0.4, 0.9])
def test_a_cosine_is_the_weighted_sum_of_the_cosines_of_the_parts(features, share):
    torch.manual_seed(3)
    head = PartsHead(CHANNELS, DIM, LABEL_SIZE, share)
    raw, outputs = head.layer(features).detach().numpy(), head(features).detach().numpy()
    assert np.linalg.norm(outputs, axis=1) == pytest.approx(np.ones(6), abs=1e-6)
    for one in range(6):
        for other in range(6):
            label_cosine = cosine(raw[one, :LABEL_SIZE], raw[other, :LABEL_SIZE])
            item_cosine = cosine(raw[one, LABEL_SIZE:], raw[other, LABEL_SIZE:])
            expected = share * label_cosine + (1 - share) * item_cosine
            assert float(outputs[one] @ outputs[other]) == pytest.approx(expected, abs=1e-5)


def test_a_loss_gets_the_same_parts_before_and_after_weighting(features):
    """Training splits the outputs again: the weights must cancel."""
    head = build_parts_head()
    for part, weighted in zip(head.parts(features), unit_parts(head(features), LABEL_SIZE), strict=True):
        assert torch.allclose(part, weighted, atol=1e-6)


def test_the_split_is_stored_but_never_trained(features):
    head = build_parts_head(labels=2)
    head(features).sum().backward()
    assert head.layer.weight.grad is not None
    assert head.split.grad is None
    assert head.prototypes.grad is None
    assert head.split.tolist() == [LABEL_SIZE, pytest.approx(SHARE), 0.0]


# --- refined with prototypes


@pytest.mark.parametrize("inverse_temperature", [0.0, 4.0, 24.0])
def test_refining_draws_the_label_part_towards_the_prototypes(features, prototypes, inverse_temperature):
    head = build_parts_head()
    label, item = (part.detach().numpy() for part in head.parts(features))
    with torch.no_grad():
        head.refine(prototypes, inverse_temperature, 0.7)
    outputs = head(features).detach().numpy()
    for row in range(6):
        expected = mean_of_prototypes(label[row], prototypes.numpy(), inverse_temperature)
        assert outputs[row, :LABEL_SIZE] == pytest.approx(np.sqrt(0.7) * expected, abs=1e-5)
        assert outputs[row, LABEL_SIZE:] == pytest.approx(np.sqrt(0.3) * item[row], abs=1e-5)


def test_high_sharpness_makes_photos_of_one_label_equal():
    """Two photos near the first prototype, one near the second, one exactly between them."""
    head = PartsHead(2, 3, 2, 0.5)
    with torch.no_grad():
        head.layer.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]))
        head.layer.bias.zero_()
        head.refine(torch.eye(2), 60.0, 0.5)
        outputs = head(torch.tensor([[1.0, 0.1], [1.0, 0.5], [0.2, 1.0], [1.0, 1.0]]))
    label = unit_parts(outputs, 2)[0]
    assert label[0].tolist() == pytest.approx([1.0, 0.0], abs=1e-4)
    assert label[1].tolist() == pytest.approx([1.0, 0.0], abs=1e-4)
    assert label[2].tolist() == pytest.approx([0.0, 1.0], abs=1e-4)
    assert label[3].tolist() == pytest.approx([0.5**0.5, 0.5**0.5], abs=1e-4)


# --- storing, exporting and loading


@pytest.fixture
def network(prototypes) -> EncoderNetwork:
    """A network on the smallest backbone that a card can name."""
    from ml.encoder.backbones import build_backbone

    torch.manual_seed(5)
    backbone = build_backbone("efficientnet-lite0", pretrained=False)
    head = PartsHead(backbone.channels, DIM, LABEL_SIZE, SHARE)
    with torch.no_grad():
        head.refine(prototypes, 6.0, 0.6)
    return round_filters(EncoderNetwork(backbone, backbone.channels, "gem", head).eval())


CARD = Card(
    name="parts",
    kind="metric",
    backbone="efficientnet-lite0",
    pooling="gem",
    dim=DIM,
    preprocessing=Preprocess(32, 32, "squash", "bicubic", (127.0, 127.0, 127.0), (128.0, 128.0, 128.0)),
    head="parts",
)


def some_images(count: int) -> torch.Tensor:
    return torch.randn(count, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("refined", [False, True])
def test_onnx_runtime_equals_torch(prototypes, refined):
    import onnxruntime

    head = build_parts_head()
    if refined:
        with torch.no_grad():
            head.refine(prototypes, 8.0, 0.6)
    network = EncoderNetwork(nn.Conv2d(3, CHANNELS, 3, stride=8), CHANNELS, "mean", head).eval()
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(export_onnx(network, 32, 32), settings)
    for count in (1, 5):
        with torch.inference_mode():
            expected = network(some_images(count)).numpy()
        assert session.run(None, {"images": some_images(count).numpy()})[0] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("refined", [False, True])
def test_a_stored_network_is_restored_from_its_folder(network, refined, tmp_path):
    if not refined:
        network.head = PartsHead(network.channels, DIM, LABEL_SIZE, SHARE)
        network = round_filters(network)
    write_encoder(tmp_path / "parts", CARD, network_weights(network), b"an onnx model")
    card = read_card(tmp_path / "parts")
    again = network_from_card(card, read_weights(tmp_path / "parts", card))
    assert (again.head.label_size, len(again.head.prototypes)) == (LABEL_SIZE, 4 if refined else 0)
    with torch.inference_mode():
        assert torch.equal(again(some_images(2)), network(some_images(2)))


@pytest.mark.parametrize(
    "split",
    [
        [0.0, 0.5, 4.0],
        [DIM, 0.5, 4.0],
        [-1.0, 0.5, 4.0],
        [3.5, 0.5, 4.0],
        [3.0, 0.0, 4.0],
        [3.0, 1.0, 4.0],
        [3.0, 0.5, -4.0],
        [3.0, 0.5, float("inf")],
        [3.0, float("nan"), 4.0],
        [float("nan"), 0.5, 4.0],
        [3.0, 0.5],
        [[3.0, 0.5, 4.0]],
        [],
    ],
)
def test_an_invalid_split_is_corrupt(network, split):
    weights = network_weights(network) | {"head.split": np.array(split, dtype=np.float32)}
    with raises_code(EncoderCorrupt, "weights_mismatch", "head.split"):
        network_from_card(CARD, weights)


@pytest.mark.parametrize(
    "changed",
    [
        {"head.prototypes": np.zeros((4, LABEL_SIZE + 1), dtype=np.float32)},
        {"head.prototypes": np.zeros(4, dtype=np.float32)},
        {"head.prototypes": np.zeros((), dtype=np.float32)},
        {"head.split": np.array([LABEL_SIZE + 1, 0.5, 4.0], dtype=np.float32)},
        {"head.layer.weight": np.zeros((DIM + 1, 1280), dtype=np.float32)},
    ],
)
def test_weights_that_do_not_fit_the_split_are_corrupt(network, changed):
    with pytest.raises(EncoderCorrupt):
        network_from_card(CARD, network_weights(network) | changed)


@pytest.mark.parametrize("missing", ["head.split", "head.prototypes", "head.layer.bias"])
def test_missing_weights_are_corrupt(network, missing):
    weights = network_weights(network)
    del weights[missing]
    with pytest.raises(EncoderCorrupt):
        network_from_card(CARD, weights)


def test_weights_of_a_parts_head_and_a_linear_head_are_not_interchangeable(network):
    with pytest.raises(EncoderCorrupt):
        network_from_card(replace(CARD, head="linear"), network_weights(network))
    network.head = build_head("linear", network.channels, DIM)
    with pytest.raises(EncoderCorrupt):
        network_from_card(CARD, network_weights(network))
