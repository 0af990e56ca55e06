"""The encoder network: pooling, heads, rounding, ONNX export and OOD layers."""

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from ml.encoder.folder import read_card, read_onnx, read_weights
from ml.encoder.network import (
    EncoderNetwork,
    build_head,
    export_onnx,
    network_from_card,
    network_weights,
    round_filters,
)
from ml.encoder.onnx_export import halve_exact_weights
from ml.formats.encoder_folder import EncoderCorrupt
from ml.inference.embedder import load_embedder
from ml.runtime.onnx import onnx_forward
from ml.runtime.torch import network_forward
from ml.scoring.ood import ood_scores
from tests.helpers.errors import raises_code
from tests.helpers.small_encoder import AXES, random_pixels, small_encoder, small_network


class TinyBackbone(nn.Module):
    """One convolution with batch normalisation: everything the exporter could get wrong, in a millisecond."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 5, 3, stride=4, bias=False)
        self.norm = nn.BatchNorm2d(5)

    def forward(self, images):
        return torch.relu(self.norm(self.conv(images)))


@pytest.fixture
def tiny() -> EncoderNetwork:
    torch.manual_seed(0)
    network = EncoderNetwork(TinyBackbone(), 5, "gem", build_head("linear", 5, 4)).eval()
    network.trunk.norm.running_var.fill_(1e6)  # out of the range of float16
    network.trunk.norm.running_mean.normal_()
    return network


def run_onnx(onnx_bytes: bytes, images: np.ndarray) -> np.ndarray:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(onnx_bytes, options).run(None, {"images": images})[0]


def some_images(count: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(count, 3, 16, 16)).astype(np.float32)


def pooled_by_loop(maps: np.ndarray, power: float) -> list[list[float]]:
    return [[float(np.mean([v**power for v in channel.ravel()])) ** (1 / power) for channel in one] for one in maps]


@pytest.mark.parametrize(("pooling", "power"), [("mean", 1.0), ("gem", 3.0)])
def test_pooling_equals_a_loop_over_the_formula(pooling, power):
    maps = torch.rand(2, 5, 3, 4)
    network = EncoderNetwork(nn.Identity(), 5, pooling, nn.Linear(5, 4))
    assert network.pooled(maps).numpy() == pytest.approx(np.array(pooled_by_loop(maps.numpy(), power)), rel=1e-4)


@pytest.mark.parametrize("pooling", ["mean", "gem"])
def test_a_channel_of_zeros_pools_to_nearly_zero_with_a_finite_gradient(pooling):
    maps = torch.zeros(1, 5, 3, 3, requires_grad=True)
    pooled = EncoderNetwork(nn.Identity(), 5, pooling, nn.Linear(5, 4)).pooled(maps)
    pooled.sum().backward()
    assert pooled.abs().max() < 1e-3
    assert torch.isfinite(maps.grad).all()


@pytest.mark.parametrize("count", [1, 2, 7])
def test_the_onnx_model_equals_torch_for_any_batch_size(tiny, count):
    images = some_images(count)
    with torch.inference_mode():
        expected = tiny(torch.from_numpy(images)).numpy()
    assert run_onnx(export_onnx(tiny, 16, 16), images) == pytest.approx(expected, abs=1e-5)


def test_halving_the_file_leaves_the_outputs_bit_identical(tiny):
    whole = export_onnx(round_filters(tiny), 16, 16)
    halved = halve_exact_weights(whole)
    stored = {tensor.name: tensor.data_type for tensor in onnx.load_model_from_string(halved).graph.initializer}
    assert stored["trunk.conv.weight.half"] == stored["head.weight.half"] == onnx.TensorProto.FLOAT16
    assert np.array_equal(run_onnx(halved, some_images(5)), run_onnx(whole, some_images(5)))


def test_weights_that_float16_cannot_hold_stay_float32(tiny):
    whole = export_onnx(tiny, 16, 16)
    halved = onnx.load_model_from_string(halve_exact_weights(whole))
    assert all(tensor.data_type != onnx.TensorProto.FLOAT16 for tensor in halved.graph.initializer)


def test_rounding_changes_only_filters_and_matrices_of_a_copy(tiny):
    before = {key: value.clone() for key, value in tiny.state_dict().items()}
    rounded = round_filters(tiny).state_dict()
    assert all(torch.equal(value, before[key]) for key, value in tiny.state_dict().items())
    for key, value in rounded.items():
        assert torch.equal(value, before[key].half().float() if value.ndim > 1 else before[key]), key


def test_stored_weights_equal_the_rounded_weights(tiny):
    rounded = round_filters(tiny)
    weights = network_weights(rounded)
    assert weights["trunk.conv.weight"].dtype == np.float16
    assert weights["trunk.norm.running_var"].dtype == np.float32
    assert "trunk.norm.num_batches_tracked" not in weights
    for key, array in weights.items():
        assert np.array_equal(array.astype(np.float32), rounded.state_dict()[key].numpy()), key


# --- heads


def test_the_linear_head_is_one_layer():
    head = build_head("linear", 5, 3)
    assert {name: tuple(weight.shape) for name, weight in head.named_parameters()} == {"weight": (3, 5), "bias": (3,)}


def test_the_hidden_head_is_two_layers_with_a_relu_between():
    head = build_head("hidden512", 5, 3, dropout=0.4).eval()
    state = {name: weight.detach().numpy() for name, weight in head.named_parameters()}
    assert {name: weight.shape for name, weight in state.items()} == {
        "0.weight": (512, 5),
        "0.bias": (512,),
        "3.weight": (3, 512),
        "3.bias": (3,),
    }
    features = torch.randn(4, 5)
    hidden = np.maximum(features.numpy() @ state["0.weight"].T + state["0.bias"], 0)
    with torch.inference_mode():
        assert head(features).numpy() == pytest.approx(hidden @ state["3.weight"].T + state["3.bias"], abs=1e-5)


def test_the_hidden_head_drops_units_in_training_only():
    head = build_head("hidden512", 5, 3, dropout=0.5)
    features = torch.randn(4, 5)
    assert not torch.equal(head.train()(features), head(features))
    assert torch.equal(head.eval()(features), head(features))


def test_pooled_equals_pool_of_the_backbone(tiny):
    images = torch.from_numpy(some_images(3))
    with torch.inference_mode():
        assert torch.equal(tiny.head(tiny.pool(tiny.trunk(images))), tiny(images))


# --- OOD layers


@pytest.fixture(scope="module")
def folder_with_ood(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ood") / "small"
    small_encoder(folder, head="hidden512", has_ood=True)
    return folder


def test_a_network_without_ood_layers_has_one_output(tiny):
    assert tiny.with_ood(torch.from_numpy(some_images(1)))[1] is None
    graph = onnx.load_model_from_string(export_onnx(tiny, 16, 16)).graph
    assert [output.name for output in graph.output] == ["outputs"]


def test_the_ood_score_is_a_second_output_of_the_onnx_model(folder_with_ood):
    model = onnx.load_model_from_string(read_onnx(folder_with_ood, read_card(folder_with_ood)))
    assert [output.name for output in model.graph.output] == ["outputs", "strangeness"]


def test_onnx_torch_and_numpy_agree_on_the_ood_score(folder_with_ood):
    card = read_card(folder_with_ood)
    weights = read_weights(folder_with_ood, card)
    network = network_from_card(card, weights)
    pixels = random_pixels(6)
    by_onnx = onnx_forward(card, read_onnx(folder_with_ood, card), 1)(pixels)
    by_torch = network_forward(network)(pixels)
    with torch.inference_mode():
        features = network.pooled(torch.from_numpy(pixels)).numpy()
    prefix = "strangeness."
    layers = {name.removeprefix(prefix): array for name, array in weights.items() if name.startswith(prefix)}
    assert layers["axes"].dtype == np.float16  # all three use the rounded axes
    expected = ood_scores(features, {name: array.astype(np.float32) for name, array in layers.items()})
    assert by_onnx.ood_score.shape == (6,)
    assert by_torch.ood_score == pytest.approx(expected, rel=1e-3)
    assert by_onnx.ood_score == pytest.approx(expected, rel=1e-3)
    assert by_onnx.outputs == pytest.approx(by_torch.outputs, abs=1e-4)


def test_both_runtimes_return_the_same_vectors_and_ood_scores(folder_with_ood):
    by_onnx, by_torch = (load_embedder(folder_with_ood, runtime, threads=1) for runtime in ("onnx", "torch"))
    batches = [random_pixels(3), random_pixels(1, seed=4)]
    vectors, scores = by_onnx.embed_with_ood(batches)
    assert vectors.shape == (4, 5)
    assert scores.shape == (4,)
    for first, second in zip((vectors, scores), by_torch.embed_with_ood(batches), strict=True):
        assert first == pytest.approx(second, rel=1e-3, abs=1e-4)
    assert np.array_equal(by_onnx.embed_batches(batches), vectors)


def test_the_ood_layers_are_never_trained():
    network = small_network(3, has_ood=True).train()
    assert network.strangeness.axes.shape == (AXES, 512)
    trained = {name for name, weight in network.named_parameters() if weight.requires_grad}
    assert trained
    assert not any(name.startswith("strangeness.") for name in trained)


@pytest.mark.parametrize("damage", ["missing", "narrow", "flat", "endless"])
def test_ood_weights_of_the_wrong_shape_are_corrupt(folder_with_ood, damage):
    card = read_card(folder_with_ood)
    weights = read_weights(folder_with_ood, card)
    axes = weights.pop("strangeness.axes")
    damaged = {"narrow": axes[:, :-1], "flat": axes[0], "endless": np.empty((10**12, 0), dtype=np.float16)}
    if damage in damaged:
        weights["strangeness.axes"] = damaged[damage]
    with raises_code(EncoderCorrupt, "weights_mismatch"):
        network_from_card(card, weights)
