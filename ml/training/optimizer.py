"""Optimizer: learning rates by stage, warm-up and cosine schedule, L1 and L2 penalties, moving average of weights."""

import copy
import math
from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

from ml.training.model import TrainableEncoder
from ml.training.options import TrainingOptions


def build_optimizer(encoder: TrainableEncoder, loss: nn.Module, options: TrainingOptions) -> torch.optim.Optimizer:
    """Return Adam or AdamW with groups per stage: the last stage has `lr`, each earlier one `lr_decay` of the next.

    The head and the loss' own weights (proxies) have `head_lr`. Vectors (biases, batch normalisation) do not decay.
    """
    stages = encoder.trained_stages
    rates = [options.lr * options.lr_decay ** (len(stages) - 1 - at) for at in range(len(stages))]
    groups = [group for stage, rate in zip(stages, rates, strict=True) for group in _groups(stage, rate, options)]
    groups += [group for part in (encoder.network.head, loss) for group in _groups(part, options.head_lr, options)]
    kind = torch.optim.AdamW if options.optimizer == "adamw" else torch.optim.Adam
    return kind(groups)


def set_rates(optimizer: torch.optim.Optimizer, share: float, warmup: float) -> float:
    """Set each group's rate for the moment `share` (0..1) of the run; return the factor of its highest rate.

    A linear rise over the first `warmup`, then the half cosine of Loshchilov and Hutter, "SGDR", 2017, equation 5.

    Not torch's `LambdaLR`: the rate depends on the share of the run alone, so a resumed run has no scheduler to
    restore, and checkpoints (whose groups hold `highest`, not `initial_lr`) stay readable.
    """
    if share < warmup:
        factor = share / warmup
    else:
        factor = 0.5 * (1 + math.cos(math.pi * (share - warmup) / max(1 - warmup, 1e-9)))
    for group in optimizer.param_groups:
        group["lr"] = group["highest"] * factor
    return factor


def penalty(modules: Iterable[nn.Module], l1: float, l2: float) -> Tensor | float:
    """Return l1 x sum |w| + l2 x sum w^2 over the trained matrices and filters; 0.0 where both factors are 0.

    Part of the loss, so Adam's moments include it, unlike AdamW's decoupled decay.
    """
    if not l1 and not l2:
        return 0.0
    weights = [
        weight for module in modules for weight in module.parameters() if weight.requires_grad and weight.ndim > 1
    ]
    return sum((l1 * weight.abs().sum() + l2 * weight.square().sum() for weight in weights), start=torch.zeros(()))


N = TypeVar("N", bound=nn.Module)


class MovingAverage(Generic[N]):
    """Exponential moving average of a network's weights and statistics; with memory 0, the network itself.

    Not `torch.optim.swa_utils.AveragedModel`: its first update copies the weights, and its averaging function gets the
    number of updates as a tensor on the device, so a memory that grows with that number would change the results and
    make each step wait for the GPU.
    """

    def __init__(self, network: N, memory: float) -> None:
        self.network: N = copy.deepcopy(network) if memory else network
        self._memory = memory
        self.steps = 0
        if memory:
            self.network.eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, network: N) -> None:
        """Move towards the current weights. The memory grows over the first steps, to forget the initial weights."""
        if not self._memory:
            return
        memory = min(self._memory, (1 + self.steps) / (10 + self.steps))
        self.steps += 1
        for average, current in zip(_tensors(self.network), _tensors(network), strict=True):
            if average.is_floating_point():
                average.lerp_(current, 1 - memory)
            else:
                average.copy_(current)


def _tensors(network: nn.Module) -> Iterator[Tensor]:
    yield from network.parameters()
    yield from network.buffers()


def _groups(module: nn.Module, rate: float, options: TrainingOptions) -> Iterator[dict[str, object]]:
    """Yield the parameter groups of matrices and filters, which decay, and of vectors, which do not."""
    for decay, weights in (
        (options.weight_decay, [weight for weight in module.parameters() if weight.ndim > 1]),
        (0.0, [weight for weight in module.parameters() if weight.ndim <= 1]),
    ):
        if weights:
            decays = {"weight_decay": decay} if options.optimizer == "adamw" else {}
            yield {"params": weights, "lr": rate, "highest": rate} | decays
