from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from ml.encoder.card import Card
from ml.encoder.folder import write_encoder
from ml.encoder.network import PartsHead, network_weights, round_filters
from ml.training.model import build_encoder, export_frozen_stages
from ml.training.options import ClassifierOptions, MetricOptions
from tests.helpers.tiny_model import SIDE, tiny_encoder, tiny_pictures

REAL_BACKBONE = True
OPTIONS = MetricOptions(embedding_size=6, label_size=2, drop=0.0)


def tensors(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def changed_by_a_step(encoder, *, head_only: bool = False) -> set[str]:
    """The names of all weights and statistics that a step of training changes."""
    before = tensors(encoder)
    encoder.set_training(head_only=head_only)
    optimizer = torch.optim.SGD(encoder.parameters(), lr=0.1)
    optimizer.zero_grad()
    outputs = encoder(tiny_pictures(6))
    (outputs * torch.rand(outputs.shape, generator=torch.Generator().manual_seed(0))).sum().backward()
    optimizer.step()
    return {name for name, tensor in encoder.state_dict().items() if not torch.equal(tensor, before[name])}


def of_stage(names: set[str], stage: int) -> set[str]:
    return {name.rsplit(".", 1)[1] for name in names if name.startswith(f"network.trunk.blocks.{stage}.")}


STATISTICS = {"running_mean", "running_var", "num_batches_tracked"}


@pytest.fixture(params=[MetricOptions(embedding_size=6, label_size=2), ClassifierOptions()])
def options(request):
    return replace(request.param, drop=0.0)


# --- what a step trains


@pytest.mark.parametrize("frozen", [0, 1, 2, 3])
def test_frozen_stages_are_not_trained_and_the_others_are(options, frozen):
    names = changed_by_a_step(tiny_encoder(replace(options, freeze_stages=frozen, statistics="trained")))
    for stage in range(3):
        expected = set() if stage < frozen else {"weight", "bias"} | STATISTICS
        assert of_stage(names, stage) == expected
    assert any(name.startswith("network.head.") for name in names)


def test_statistics_are_frozen_unless_chosen_otherwise():
    frozen = changed_by_a_step(tiny_encoder(OPTIONS))
    assert STATISTICS.isdisjoint(name.rsplit(".", 1)[1] for name in frozen)
    trained = changed_by_a_step(tiny_encoder(replace(OPTIONS, statistics="trained")))
    assert STATISTICS.issubset(name.rsplit(".", 1)[1] for name in trained)


@pytest.mark.parametrize("statistics", ["frozen", "trained"])
def test_head_only_trains_the_head_alone(statistics):
    encoder = tiny_encoder(replace(OPTIONS, statistics=statistics))
    assert changed_by_a_step(encoder, head_only=True) == {"network.head.layer.weight", "network.head.layer.bias"}
    after = changed_by_a_step(encoder)  # and then the rest joins in
    assert {"weight", "bias"} <= of_stage(after, 0)


def test_evaluation_equals_training_without_dropout():
    encoder = tiny_encoder(OPTIONS)
    encoder.set_training(head_only=False)
    with torch.no_grad():
        trained = encoder(tiny_pictures(3))
        assert torch.equal(encoder.eval()(tiny_pictures(3)), trained)


def test_dropout_applies_in_training_alone():
    encoder = tiny_encoder(replace(OPTIONS, drop=0.5))
    encoder.set_training(head_only=False)
    with torch.no_grad():
        assert not torch.equal(encoder(tiny_pictures(3)), encoder(tiny_pictures(3)))
        encoder.eval()
        assert torch.equal(encoder(tiny_pictures(3)), encoder(tiny_pictures(3)))


def test_the_hidden_head_has_its_own_dropout():
    encoder = tiny_encoder(ClassifierOptions(head="hidden512", drop=0.4))
    assert encoder.drop.p == 0.0
    assert [layer.p for layer in encoder.network.head if isinstance(layer, nn.Dropout)] == [0.4]
    assert tiny_encoder(ClassifierOptions(drop=0.4)).drop.p == 0.4


# --- inputs


def test_pictures_are_normalised_like_the_preprocessing():
    """Against the network itself on what `Preprocess` would give it: the pictures are 32 x 32 already."""
    encoder = tiny_encoder(OPTIONS).eval()
    pictures = tiny_pictures(4)
    mean, std = (np.array(values).reshape(1, 3, 1, 1) for values in (encoder.preprocess.mean, encoder.preprocess.std))
    read = torch.from_numpy((pictures.numpy() - mean) / std).float()
    with torch.no_grad():
        assert torch.allclose(encoder(pictures), encoder.network(read), atol=1e-5)


@pytest.mark.parametrize("frozen", [0, 1, 3])
def test_cached_maps_give_the_outputs_of_pictures(options, frozen):
    """Stored as float16, which has three digits."""
    encoder = tiny_encoder(replace(options, freeze_stages=frozen)).eval()
    pictures = tiny_pictures(4)
    with torch.no_grad():
        cached = encoder.run_frozen_stages(pictures)
        expected = encoder(pictures)
        assert torch.equal(encoder(cached), expected)
        assert torch.allclose(encoder(cached.half()), expected, rtol=1e-2, atol=2e-3)
        assert torch.equal(encoder.outputs(encoder.frozen_features(pictures)), expected)
        assert torch.equal(encoder.network.head(encoder.features(encoder.frozen_features(pictures))), expected)


def test_frozen_stages_have_no_gradient():
    encoder = tiny_encoder(replace(OPTIONS, freeze_stages=2))
    assert not encoder.run_frozen_stages(tiny_pictures(1)).requires_grad
    assert encoder.outputs(encoder.run_frozen_stages(tiny_pictures(2))).requires_grad


@pytest.mark.parametrize("frozen", [1, 3])
def test_onnx_runtime_returns_the_same_maps_for_any_batch_size(frozen):
    encoder = tiny_encoder(replace(OPTIONS, freeze_stages=frozen))
    run_frozen = export_frozen_stages(encoder, SIDE, threads=1)
    for count in (1, 5):
        pictures = tiny_pictures(count).contiguous(memory_format=torch.channels_last)
        assert run_frozen(pictures).numpy() == pytest.approx(
            encoder.run_frozen_stages(pictures).numpy(), rel=1e-4, abs=1e-5
        )


def test_the_normalisation_is_not_among_the_weights():
    assert not {"mean", "std"} & tiny_encoder(OPTIONS).state_dict().keys()


# --- construction


def without_pretraining(**changes):
    return MetricOptions(**{"pretrained": False, "side": 64, "resize": "pad"} | changes)


def test_a_metric_encoder_is_built_from_its_options():
    encoder = build_encoder(without_pretraining(embedding_size=20, label_size=5, label_share=0.25, pooling="mean"), 7)
    head = encoder.network.head
    assert isinstance(head, PartsHead)
    assert (head.layer.out_features, head.label_size, head.split.tolist()) == (20, 5, [5.0, 0.25, 0.0])
    assert (encoder.network.pooling, encoder.head_kind) == ("mean", "parts")
    assert (encoder.preprocess.height, encoder.preprocess.width, encoder.preprocess.resize) == (64, 64, "pad")
    plain = build_encoder(without_pretraining(label_size=0), 7)
    assert isinstance(plain.network.head, nn.Linear)


def test_pretrained_weights_are_those_of_imagenet():
    random, pretrained = (build_encoder(without_pretraining(pretrained=wanted), 3) for wanted in (False, True))
    stem = "network.trunk.net._conv_stem.weight"
    assert not torch.equal(random.state_dict()[stem], pretrained.state_dict()[stem])
    again = build_encoder(without_pretraining(pretrained=True, seed=5), 3)
    assert torch.equal(pretrained.state_dict()[stem], again.state_dict()[stem])


@pytest.fixture
def classifier_folder(tmp_path):
    """A classifier of four labels of another run, rounded as encoders are."""
    encoder = build_encoder(ClassifierOptions(pretrained=False, seed=3, head="hidden512"), 4)
    network = round_filters(encoder.network)
    card = Card(
        "clothes", "classifier", "efficientnet-lite0", "gem", 4, encoder.preprocess, labels=("a", "b", "c", "d")
    )
    write_encoder(tmp_path / "clothes", replace(card, head="hidden512"), network_weights(network), b"an onnx model")
    return tmp_path / "clothes", network


def test_a_run_may_start_from_the_backbone_of_another_encoder(classifier_folder):
    folder, network = classifier_folder
    encoder = build_encoder(MetricOptions(start_from=str(folder)), 3)
    expected = network.trunk.state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in encoder.network.trunk.state_dict().items())
    assert isinstance(encoder.network.head, PartsHead)
