"""How weights are stepped: rates by stage, warm-up and cosine, real L1 and L2 penalties, the moving average."""

import copy
import math
from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

from ml.training.model import TrainableEncoder
from ml.training.options import TrainingOptions


def build_optimizer(encoder: TrainableEncoder, loss: nn.Module, options: TrainingOptions) -> torch.optim.Optimizer:
    """Return Adam or AdamW with a group per stage: the last learns at `lr`, each earlier one at `lr_decay` of the next.

    The head and the loss' own weights (proxies) learn at `head_lr`. Vectors (biases, batch normalisation) do not decay.
    """
    stages = encoder.trained_stages
    rates = [options.lr * options.lr_decay ** (len(stages) - 1 - at) for at in range(len(stages))]
    groups = [group for stage, rate in zip(stages, rates, strict=True) for group in _groups(stage, rate, options)]
    groups += [group for part in (encoder.network.head, loss) for group in _groups(part, options.head_lr, options)]
    kind = torch.optim.AdamW if options.optimizer == "adamw" else torch.optim.Adam
    return kind(groups)


def set_rates(optimizer: torch.optim.Optimizer, share: float, warmup: float) -> float:
    """Set each group's rate for the moment `share` (0..1) of the run and return the factor.

    A linear rise over the first `warmup`, then the half cosine of Loshchilov and Hutter, "SGDR", 2017, equation 5.
    """
    if share < warmup:
        factor = share / warmup
    else:
        factor = 0.5 * (1 + math.cos(math.pi * (share - warmup) / max(1 - warmup, 1e-9)))
    for group in optimizer.param_groups:
        group["lr"] = group["highest"] * factor
    return factor


def penalty(modules: Iterable[nn.Module], l1: float, l2: float) -> Tensor | float:
    """Return l1 x sum |w| + l2 x sum w^2 over the matrices and filters that are trained; 0.0 where both are 0.

    Part of the loss itself, and so seen by Adam's moments, unlike AdamW's decay, which bypasses them.
    """
    if not l1 and not l2:
        return 0.0
    weights = [
        weight for module in modules for weight in module.parameters() if weight.requires_grad and weight.ndim > 1
    ]
    return sum((l1 * weight.abs().sum() + l2 * weight.square().sum() for weight in weights), start=torch.zeros(()))


N = TypeVar("N", bound=nn.Module)


class MovingAverage(Generic[N]):
    """An exponential moving average of a network's weights and statistics; with memory 0 it is the network itself."""

    def __init__(self, network: N, memory: float) -> None:
        self.network: N = copy.deepcopy(network) if memory else network
        self._memory = memory
        self.steps = 0
        if memory:
            self.network.eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, network: N) -> None:
        """Move towards the weights as they are now; in the first steps further, so that the start is forgotten."""
        if not self._memory:
            return
        memory = min(self._memory, (1 + self.steps) / (10 + self.steps))
        self.steps += 1
        for average, now in zip(_tensors(self.network), _tensors(network), strict=True):
            if average.is_floating_point():
                average.lerp_(now, 1 - memory)
            else:
                average.copy_(now)


def _tensors(network: nn.Module) -> Iterator[Tensor]:
    yield from network.parameters()
    yield from network.buffers()


def _groups(module: nn.Module, rate: float, options: TrainingOptions) -> Iterator[dict[str, object]]:
    for decay, chosen in (
        (options.weight_decay, [weight for weight in module.parameters() if weight.ndim > 1]),
        (0.0, [weight for weight in module.parameters() if weight.ndim <= 1]),
    ):
        if chosen:
            decays = {"weight_decay": decay} if options.optimizer == "adamw" else {}
            yield {"params": chosen, "lr": rate, "highest": rate} | decays
