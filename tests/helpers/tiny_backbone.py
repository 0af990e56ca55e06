"""A backbone of six small stages in place of EfficientNet-Lite, for whole training runs that take a second.

`with tiny_backbone():` replaces it in this process; `python -m tests.helpers.tiny_backbone COMMAND …` is `python -m ml
COMMAND …` with the small backbone, for tests that need a process of its own.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from unittest.mock import patch

import torch
from torch import Tensor, nn

from ml.cli import main
from ml.encoder import backbones

STAGES = 6
"""How many stages the small backbone has; EfficientNet-Lite0 has 18."""


class TinyBackbone(backbones.Backbone):
    """Pictures (n, 3, h, w) to maps (n, 64, h/32, w/32). `weights`: None for random, else "pretrained" ones."""

    channels = 64

    def __init__(self, name: str, weights: Mapping[str, Tensor] | None = None) -> None:
        super().__init__()
        del name
        draw = torch.Generator().manual_seed(torch.initial_seed() if weights is None else 2024)
        sizes = [(3, 16), (16, 24), (24, 32), (32, 32), (32, 48)]
        stages = [_stage(*channels, 3, 2, draw) for channels in sizes]
        self.blocks = nn.ModuleList([*stages, _stage(48, self.channels, 1, 1, draw)])

    @property
    def stages(self) -> Sequence[nn.Module]:
        return list(self.blocks)


def _stage(channels_in: int, channels_out: int, size: int, stride: int, draw: torch.Generator) -> nn.Module:
    convolution = nn.Conv2d(channels_in, channels_out, size, stride, padding=size // 2, bias=False)
    nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu", generator=draw)
    return nn.Sequential(convolution, nn.BatchNorm2d(channels_out), nn.ReLU())


@contextmanager
def tiny_backbone() -> Iterator[None]:
    """Build `TinyBackbone` for every EfficientNet-Lite, with or without pretrained weights."""
    with ExitStack() as stack:
        stack.enter_context(patch.object(backbones, "EfficientNetLite", TinyBackbone))
        stack.enter_context(patch.object(backbones, "_load_packaged_weights", lambda name: {}))
        yield


if __name__ == "__main__":
    with tiny_backbone():
        sys.exit(main())
