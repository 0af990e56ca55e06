"""The training task of a classifier: cross entropy with label smoothing and mixup, accuracy on held-out photos."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from ml.training.dataset import CLEAN, PHONE, Batch, TrainingData
from ml.training.distributed import gather_rows
from ml.training.mixup import draw_mixing
from ml.training.model import TrainableEncoder
from ml.training.options import ClassifierOptions
from ml.training.task import compute_outputs
from ml.vectors import Floats


class ClassifierTask:
    """The `Task` (see `ml.training.task`) of `train-classifier`."""

    copies = 1
    per_label = 1

    def __init__(self, data: TrainingData, options: ClassifierOptions) -> None:
        self._data = data
        self._mixup = options.mixup
        self.loss = nn.CrossEntropyLoss(label_smoothing=options.smoothing)

    def batch_loss(
        self, encoder: TrainableEncoder, batch: Batch, rng: np.random.Generator
    ) -> tuple[Tensor, Mapping[str, float]]:
        """Return the loss of a batch and its accuracy; of mixed photos the heavier label counts.

        In a distributed run, both are those of the joint batch; each process mixes its own photos.
        """
        maps, labels = encoder.frozen_features(batch.inputs), gather_rows(batch.labels)
        if not self._mixup:
            outputs = gather_rows(encoder.outputs(maps).float())
            loss = self.loss(outputs, labels)
        else:
            mixing = draw_mixing(self._mixup, len(maps), self.copies, rng)
            outputs = gather_rows(encoder.outputs(mixing.mix(maps)).float())
            partners = gather_rows(mixing.partners(batch.labels))
            share = mixing.share
            loss = share * self.loss(outputs, labels) + (1 - share) * self.loss(outputs, partners)
        accuracy = (outputs.argmax(dim=1) == labels).float().mean().item()
        return loss, {"train_accuracy": accuracy}

    def validate(self, encoder: TrainableEncoder) -> dict[str, float]:
        """Return loss and accuracy on the clean held-out photos, and the accuracy on their phone views."""
        labels = self._data.held_out.labels
        clean, phone = (self.held_out_logits(encoder, view) for view in (CLEAN, PHONE))
        loss = nn.functional.cross_entropy(torch.from_numpy(clean), torch.from_numpy(labels)).item()
        accuracy, phone_accuracy = (float((logits.argmax(axis=1) == labels).mean()) for logits in (clean, phone))
        return {"val_loss": loss, "val_accuracy": accuracy, "phone_accuracy": phone_accuracy}

    def score(self, figures: Mapping[str, float]) -> float:
        """Return the mean of the accuracies on clean photos and on phone views; the best epoch has the highest."""
        return 0.5 * (figures["val_accuracy"] + figures["phone_accuracy"])

    def held_out_logits(self, encoder: TrainableEncoder, view: int) -> Floats:
        """Return the logits of the held-out photos in one view (n, labels)."""
        return compute_outputs(encoder, self._data.held_out_cache, len(self._data.held_out), view)
