import numpy as np
import onnx
import pytest
import torch
from torch import nn

from ml.backbones import EfficientNetLite, build_backbone, known_backbone
from ml.network import EncoderNetwork, export_onnx, network_weights, round_filters
from ml.onnx_file import halve_exact_weights


class TinyTrunk(nn.Module):
    """One convolution with a batch normalisation: all that the exporter could get wrong, in a millisecond."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 5, 3, stride=4, bias=False)
        self.norm = nn.BatchNorm2d(5)

    def forward(self, images):
        return torch.relu(self.norm(self.conv(images)))


@pytest.fixture
def tiny() -> EncoderNetwork:
    torch.manual_seed(0)
    network = EncoderNetwork(TinyTrunk(), 5, "gem", 4).eval()
    network.trunk.norm.running_var.fill_(1e6)  # out of the range of float16
    network.trunk.norm.running_mean.normal_()
    return network


def outputs_of(onnx_bytes: bytes, images: np.ndarray) -> np.ndarray:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(onnx_bytes, options).run(None, {"images": images})[0]


def some_images(count: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(count, 3, 16, 16)).astype(np.float32)


def pooled_by_a_loop(maps: np.ndarray, power: float) -> list[list[float]]:
    return [[float(np.mean([v**power for v in channel.ravel()])) ** (1 / power) for channel in one] for one in maps]


@pytest.mark.parametrize(("pooling", "power"), [("mean", 1.0), ("gem", 3.0)])
def test_pooling_is_what_its_formula_says(pooling, power):
    maps = torch.rand(2, 5, 3, 4)
    network = EncoderNetwork(nn.Identity(), 5, pooling, 4)
    assert network.pooled(maps).numpy() == pytest.approx(np.array(pooled_by_a_loop(maps.numpy(), power)), rel=1e-4)


@pytest.mark.parametrize("pooling", ["mean", "gem"])
def test_a_dead_channel_pools_to_nearly_zero_with_a_finite_slope(pooling):
    maps = torch.zeros(1, 5, 3, 3, requires_grad=True)
    pooled = EncoderNetwork(nn.Identity(), 5, pooling, 4).pooled(maps)
    pooled.sum().backward()
    assert pooled.abs().max() < 1e-3
    assert torch.isfinite(maps.grad).all()


@pytest.mark.parametrize("count", [1, 2, 7])
def test_the_onnx_model_computes_the_same_for_any_number_of_pictures(tiny, count):
    images = some_images(count)
    with torch.inference_mode():
        expected = tiny(torch.from_numpy(images)).numpy()
    assert outputs_of(export_onnx(tiny, 16, 16), images) == pytest.approx(expected, abs=1e-5)


def test_halving_the_file_does_not_change_a_single_bit_of_the_outputs(tiny):
    whole = export_onnx(round_filters(tiny), 16, 16)
    halved = halve_exact_weights(whole)
    stored = {tensor.name: tensor.data_type for tensor in onnx.load_model_from_string(halved).graph.initializer}
    assert stored["trunk.conv.weight.half"] == stored["head.weight.half"] == onnx.TensorProto.FLOAT16
    assert np.array_equal(outputs_of(halved, some_images(5)), outputs_of(whole, some_images(5)))


def test_weights_that_float16_cannot_hold_are_left_whole(tiny):
    whole = export_onnx(tiny, 16, 16)
    halved = onnx.load_model_from_string(halve_exact_weights(whole))
    assert all(tensor.data_type != onnx.TensorProto.FLOAT16 for tensor in halved.graph.initializer)


def test_rounding_touches_only_filters_and_matrices_of_a_copy(tiny):
    before = {key: value.clone() for key, value in tiny.state_dict().items()}
    rounded = round_filters(tiny).state_dict()
    assert all(torch.equal(value, before[key]) for key, value in tiny.state_dict().items())
    for key, value in rounded.items():
        assert torch.equal(value, before[key].half().float() if value.ndim > 1 else before[key]), key


def test_stored_weights_are_exactly_the_rounded_ones(tiny):
    rounded = round_filters(tiny)
    weights = network_weights(rounded)
    assert weights["trunk.conv.weight"].dtype == np.float16
    assert weights["trunk.norm.running_var"].dtype == np.float32
    assert "trunk.norm.num_batches_tracked" not in weights
    for key, array in weights.items():
        assert np.array_equal(array.astype(np.float32), rounded.state_dict()[key].numpy()), key


def test_the_imagenet_weights_load_without_a_word(capsys):
    trunk = build_backbone("efficientnet-lite0", pretrained=True)
    assert capsys.readouterr() == ("", "")
    assert not trunk.training
    assert sum(parameter.numel() for parameter in trunk.parameters()) == 3_371_008


def test_every_input_that_is_a_multiple_of_thirty_two_is_reduced_thirty_two_times():
    trunk = EfficientNetLite("efficientnet-lite0").eval()
    with torch.inference_mode():
        assert trunk(torch.zeros(1, 3, 64, 96)).shape == (1, trunk.channels, 2, 3)


def test_only_known_backbones_are_known():
    assert known_backbone("efficientnet-lite0")
    assert not known_backbone("../efficientnet-lite0")
