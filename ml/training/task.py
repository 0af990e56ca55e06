"""Interface of a training task (classifier or metric encoder), and helpers that both use."""

from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from ml.data.view_cache import ViewCache
from ml.formats.errors import InputError
from ml.training.dataset import Batch
from ml.training.model import TrainableEncoder
from ml.vectors import Floats

EVALUATION_BATCH = 64


class TrainingFailed(InputError):
    """The run cannot continue: its loss or outputs are not finite, or all vectors have collapsed into one."""

    code = "training_failed"


class Task(Protocol):
    """The part of a run that differs between a classifier and a metric encoder."""

    @property
    def copies(self) -> int:
        """Views of each photo in a batch."""

    @property
    def per_label(self) -> int:
        """Photos of one label that follow each other in a batch."""

    @property
    def loss(self) -> nn.Module:
        """The loss; its own weights, if any, are trained together with the network's."""

    def batch_loss(
        self, encoder: TrainableEncoder, batch: Batch, rng: np.random.Generator
    ) -> tuple[Tensor, Mapping[str, float]]:
        """Return the loss of a batch, ready for `backward`, and figures of the batch for the progress display.

        In a distributed run, those of the joint batch, in each process (see `ml.training.distributed.gather_rows`).
        """

    def validate(self, encoder: TrainableEncoder) -> dict[str, float]:
        """Return the figures of an epoch on the held-out photos."""

    def score(self, figures: Mapping[str, float]) -> float:
        """Return the number by which the best epoch is chosen: higher is better."""


class RunningMeans:
    """Running means of named numbers, weighted by their numbers of photos; counts of triplets are summed instead."""

    SUMMED = ("mined_triplets", "active_triplets")

    def __init__(self) -> None:
        self._sums: dict[str, float] = {}
        self._weight = 0.0

    def add(self, numbers: Mapping[str, float], weight: float) -> None:
        """Add the numbers of one batch."""
        self._weight += weight
        for name, number in numbers.items():
            self._sums[name] = self._sums.get(name, 0.0) + number * (1.0 if name in self.SUMMED else weight)

    def means(self) -> dict[str, float]:
        """Return the means, or sums, of all batches so far."""
        weight = max(self._weight, 1e-12)
        return {name: total if name in self.SUMMED else total / weight for name, total in self._sums.items()}


def compute_outputs(encoder: TrainableEncoder, store: ViewCache, photos: int, view: int) -> Floats:
    """Return the outputs (photos, dim) for one cached view of the first `photos` photos. Raises `TrainingFailed`."""
    return _compute(encoder, encoder, store, photos, view)


def compute_features(encoder: TrainableEncoder, store: ViewCache, photos: int, view: int) -> Floats:
    """Return the pooled features (photos, channels) for one cached view, like `compute_outputs`."""
    return _compute(encoder, lambda inputs: encoder.features(encoder.frozen_features(inputs)), store, photos, view)


@torch.inference_mode()
def _compute(
    encoder: TrainableEncoder, forward: Callable[[Tensor], Tensor], store: ViewCache, photos: int, view: int
) -> Floats:
    encoder.eval()
    device = next(encoder.parameters()).device
    batches = []
    for start in range(0, photos, EVALUATION_BATCH):
        numbers = np.arange(start, min(start + EVALUATION_BATCH, photos))
        inputs = store.batch(numbers, np.full(len(numbers), view)).to(device)
        batches.append(forward(inputs).float().cpu().numpy())
    rows: Floats = np.concatenate(batches)
    if not np.isfinite(rows).all():
        message = "The network returns values that are not finite: lower --lr or --head-lr."
        raise TrainingFailed(message, code="outputs_not_finite")
    return rows
