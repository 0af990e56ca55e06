"""What a run needs of its task, and small helpers of both tasks."""

from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from ml.data.pixel_cache import ViewStore
from ml.formats.errors import InputError
from ml.training.dataset import Batch
from ml.training.model import TrainableEncoder
from ml.vectors import Floats

EVALUATED_AT_A_TIME = 64


class TrainingFailed(InputError):
    """A run that cannot become good: its numbers are none any more, or all vectors have become one."""


class Task(Protocol):
    """A classifier's or a metric encoder's own part of a run."""

    @property
    def copies(self) -> int:
        """How many views of each photo a batch holds."""

    @property
    def per_label(self) -> int:
        """How many photos of one label follow each other in a batch."""

    @property
    def loss(self) -> nn.Module:
        """The loss, whose own weights are trained beside the network's."""

    def batch_loss(
        self, encoder: TrainableEncoder, batch: Batch, draw: np.random.Generator
    ) -> tuple[Tensor, Mapping[str, float]]:
        """Return the loss of a batch, ready for `backward`, and numbers to show of it.

        In a distributed run those of the joint batch, in each process (see `ml.training.distributed.gather_rows`).
        """

    def validate(self, encoder: TrainableEncoder) -> dict[str, float]:
        """Return the figures of an epoch on the photos that are held out."""

    def score(self, figures: Mapping[str, float]) -> float:
        """Return what the best epoch is the largest of."""


class Tally:
    """Means of named numbers, weighed by how many photos each was over; counts of triplets are summed instead."""

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
        """Return what has come together so far."""
        weight = max(self._weight, 1e-12)
        return {name: total if name in self.SUMMED else total / weight for name, total in self._sums.items()}


def outputs_of(encoder: TrainableEncoder, store: ViewStore, photos: int, view: int) -> Floats:
    """Return the network's outputs (photos, dim) for one kept view of the first `photos` photos."""
    return _rows_of(encoder, encoder, store, photos, view)


def features_of(encoder: TrainableEncoder, store: ViewStore, photos: int, view: int) -> Floats:
    """Return the pooled features (photos, channels) for one kept view of the first `photos` photos."""
    return _rows_of(encoder, lambda inputs: encoder.features(encoder.frozen_features(inputs)), store, photos, view)


@torch.inference_mode()
def _rows_of(
    encoder: TrainableEncoder, answer: Callable[[Tensor], Tensor], store: ViewStore, photos: int, view: int
) -> Floats:
    encoder.eval()
    device = next(encoder.parameters()).device
    rows = []
    for start in range(0, photos, EVALUATED_AT_A_TIME):
        numbers = np.arange(start, min(start + EVALUATED_AT_A_TIME, photos))
        inputs = store.batch(numbers, np.full(len(numbers), view)).to(device)
        rows.append(answer(inputs).float().cpu().numpy())
    outputs: Floats = np.concatenate(rows)
    if not np.isfinite(outputs).all():
        raise TrainingFailed("The network answers with values that are no numbers: lower --lr or --head-lr.")
    return outputs
