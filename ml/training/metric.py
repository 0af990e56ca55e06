"""The training task of a metric encoder: label and identity loss, retrieval figures on held-out photos."""

import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from ml.evaluation.retrieval import Scores, label_scores, target_ranks
from ml.training.dataset import CLEAN, PHONE, Batch, TrainingData
from ml.training.losses import MetricLoss
from ml.training.mixup import draw_mixing
from ml.training.model import TrainableEncoder
from ml.training.options import MetricOptions
from ml.training.task import RunningMeans, compute_outputs
from ml.vectors import Floats, unit_rows

LABEL_FIGURES = ("recall_at_1", "recall_at_5", "recall_at_10", "near10", "map_at_r")


class MetricTask:
    """The `Task` (see `ml.training.task`) of `train-metric`."""

    copies = 2
    """Views of each photo in a batch: the identity loss compares them."""

    def __init__(self, data: TrainingData, options: MetricOptions) -> None:
        self._data = data
        self._mixup = options.mixup
        self.loss = MetricLoss(options, len(data.train.classes))
        self.per_label = options.per_label
        self.dim = options.embedding_size
        self.refines_prototypes = bool(options.label_size) and options.sharpen

    def batch_loss(
        self, encoder: TrainableEncoder, batch: Batch, rng: np.random.Generator
    ) -> tuple[Tensor, Mapping[str, float]]:
        """Return the loss of a batch; its parts and the counts of triplets for the progress display."""
        maps = encoder.frozen_features(batch.inputs)
        photos = len(batch.labels) // self.copies
        mixing = draw_mixing(self._mixup, photos, self.copies, rng) if self._mixup else None
        outputs = encoder.outputs(mixing.mix(maps) if mixing else maps).float()
        with torch.autocast(outputs.device.type, enabled=False):  # a cosine in bfloat16 has two digits
            value = self.loss(outputs, batch.labels, batch.items, mixing)
        parts = {"label_loss": value.label, "identity_loss": value.identity}
        return value.total, parts | {"mined_triplets": value.mined, "active_triplets": value.active}

    def validate(self, encoder: TrainableEncoder) -> dict[str, float]:
        """Return the figures and the loss of the held-out photos, and the spread of all vectors.

        spread: 1 - |mean vector|^2, which is the mean of 1 - cosine over all pairs of photos; near 0 they collapsed.
        """
        train = self.embed_train(encoder)
        clean, phone = self.embed_held_out(encoder, CLEAN), self.embed_held_out(encoder, PHONE)
        mean = np.concatenate([train, clean]).mean(axis=0, dtype=np.float64)
        spread = max(0.0, 1.0 - float(np.square(mean).sum()))  # rounding may bring it below
        loss = self._held_out_loss(clean, phone, encoder)
        return self.figures(train, clean, phone) | {"spread": spread, "val_loss": loss}

    def figures(self, train: Floats, clean: Floats, phone: Floats) -> dict[str, float]:
        """Return the retrieval figures of held-out photos (vectors `clean`, `phone`) in a gallery of `train`, `clean`.

        recall_at_k, near10, map_at_r: by label, from the clean photo, without the photos of the same contributor.
        garment_at_k: the same photo, from its phone view.
        """
        gallery = np.concatenate([train, clean])
        labels = np.concatenate([self._data.train.labels, self._data.held_out.labels])
        names = self._data.train.groups + self._data.held_out.groups
        groups = np.unique(names, return_inverse=True)[1].astype(np.int64)
        queries = np.arange(len(train), len(gallery))
        scores = label_scores(clean, gallery, labels[queries], labels, groups[queries], groups)
        ranks = target_ranks(phone, gallery, queries)
        figures = {name: _mean_of_finite(getattr(scores, name)) for name in LABEL_FIGURES}
        return figures | {f"garment_at_{k}": float((ranks <= k).mean()) for k in (1, 5)}

    def score(self, figures: Mapping[str, float]) -> float:
        """Return the mean of map_at_r (label) and garment_at_1; the best epoch has the highest.

        garment_at_1 alone where each label has one contributor, so that map_at_r is NaN.
        """
        label, garment = figures["map_at_r"], figures["garment_at_1"]
        return garment if math.isnan(label) else 0.5 * (label + garment)

    def embed_train(self, encoder: TrainableEncoder) -> Floats:
        """Return the unit vectors of the clean train photos (n, d)."""
        return unit_rows(compute_outputs(encoder, self._data.train_cache, len(self._data.train), CLEAN))

    def embed_held_out(self, encoder: TrainableEncoder, view: int) -> Floats:
        """Return the unit vectors of the held-out photos in one view (n, d)."""
        return unit_rows(compute_outputs(encoder, self._data.held_out_cache, len(self._data.held_out), view))

    @torch.no_grad()
    def _held_out_loss(self, clean: Floats, phone: Floats, encoder: TrainableEncoder) -> float:
        """Return the loss of clean and phone views in batches; NaN with a cross-batch memory, which they would fill."""
        if self.loss.has_memory:
            return float("nan")
        held_out, running_means = self._data.held_out, RunningMeans()
        size = max(2, self._data.options.batch_size)
        device = next(encoder.parameters()).device
        for start in range(0, len(held_out), size):
            rows = slice(start, start + size)
            outputs = torch.from_numpy(np.concatenate([clean[rows], phone[rows]]))
            labels, items = (
                torch.from_numpy(np.tile(numbers[rows], 2)) for numbers in (held_out.labels, held_out.items)
            )
            value = self.loss.local_loss(outputs.to(device), labels.to(device), items.to(device))
            running_means.add({"val_loss": float(value.total)}, len(held_out.labels[rows]))
        return running_means.means()["val_loss"]


def _mean_of_finite(scores: Scores) -> float:
    """Return the mean over the queries that have a right answer, NaN where there is none."""
    return float(scores[np.isfinite(scores)].mean()) if np.isfinite(scores).any() else math.nan
