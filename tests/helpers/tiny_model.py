"""A trainable encoder whose step takes a millisecond: three small stages with batch normalisation."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ml.encoder.backbones import Backbone
from ml.encoder.network import EncoderNetwork, PartsHead, build_head
from ml.images.preprocess import Preprocess
from ml.training.model import TrainableEncoder, head_kind
from ml.training.options import ClassifierOptions, MetricOptions

SIDE = 32


class TinyBackbone(Backbone):
    """Three convolutions that make a picture 8 times smaller."""

    channels = 8

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([_stage(3, 4), _stage(4, 6), _stage(6, 8)])

    @property
    def stages(self) -> Sequence[nn.Module]:
        return list(self.blocks)


def _stage(channels_in: int, channels_out: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(),
    )


def tiny_encoder(options: ClassifierOptions | MetricOptions, labels: int = 3) -> TrainableEncoder:
    """Return an encoder with random weights and statistics, drawn with the seed of the options."""
    torch.manual_seed(options.seed)
    backbone = TinyBackbone()
    for module in backbone.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.2, 0.2)
            module.running_var.uniform_(0.5, 2.0)
    network = EncoderNetwork(backbone, backbone.channels, options.pooling, _head(options, backbone.channels, labels))
    preprocess = Preprocess(SIDE, SIDE, "squash", "bilinear", (120.0, 110.0, 100.0), (60.0, 58.0, 56.0))
    return TrainableEncoder(network, preprocess, options, head_kind(options))


def _head(options: ClassifierOptions | MetricOptions, channels: int, labels: int) -> nn.Module:
    if isinstance(options, ClassifierOptions):
        return build_head(options.head, channels, labels, options.drop)
    if options.label_size:
        return PartsHead(channels, options.embedding_size, options.label_size, options.label_share)
    return build_head("linear", channels, options.embedding_size)


def tiny_pictures(count: int, seed: int = 0) -> Tensor:
    """Return uint8 pictures (count, 3, 32, 32), each of one colour with dots of all colours."""
    draw = torch.Generator().manual_seed(seed)
    colours = torch.randint(0, 256, (count, 3, 1, 1), generator=draw)
    dots = torch.randint(0, 256, (count, 3, SIDE, SIDE), generator=draw)
    return torch.where(torch.rand(count, 1, SIDE, SIDE, generator=draw) < 0.2, dots, colours).to(torch.uint8)
