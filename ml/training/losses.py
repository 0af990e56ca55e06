"""The losses of a metric encoder: one for labels, one for identity, all on one distance, the cosine.

Losses, miners and reducers are pytorch-metric-learning's; every margin and distance is given, because their defaults
differ from class to class. A distance of cosines is inverted (`is_inverted`): a margin is a difference of cosines.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from pytorch_metric_learning import losses, miners
from pytorch_metric_learning.distances import CosineSimilarity
from pytorch_metric_learning.utils import loss_and_miner_utils
from torch import Tensor, nn

from ml.encoder.network import unit_parts
from ml.training.distributed import gather_rows
from ml.training.mixup import Mixing
from ml.training.options import PAIR_LOSSES, MetricOptions


@dataclass(frozen=True)
class LossValue:
    """The loss of a batch, its parts, and counts of triplets for the progress display.

    `mined`: the label's triplets that the miner chose, or all of the batch where the loss has no miner; `active`: those
    of them that violate the margin.
    """

    total: Tensor
    label: float
    identity: float
    mined: int
    active: int


class MetricLoss(nn.Module):
    """label_weight x label loss on the label part + identity_weight x identity loss on the identity part.

    With `label_size` 0 both work on the whole vector. Its own weights (proxies) are trained with the head's rate; they
    are initialised from the seed alone, so that all processes of a run begin with the same weights.
    """

    def __init__(self, options: MetricOptions, classes: int) -> None:
        super().__init__()
        self._options = options
        label_size = options.label_size or options.embedding_size
        torch.manual_seed(options.seed)
        self.label = build_label_loss(options, classes, label_size)
        self.miner = build_miner(options)
        if options.memory:
            self.label = CrossBatchMemory(self.label, label_size, options.memory, self.miner)
        self.identity = build_identity_loss(options)

    @property
    def has_memory(self) -> bool:
        """Whether the loss has a cross-batch memory, so that a batch changes the loss of the next one."""
        return bool(self._options.memory)

    def forward(self, outputs: Tensor, labels: Tensor, items: Tensor, mixing: Mixing | None = None) -> LossValue:
        """Return the loss of outputs (n, d) with labels and items (n): rows of one item are views of one garment.

        The label loss of mixed rows is that of both labels; for identity a mixture is an item of its own. In a
        distributed run, the rows of all processes count (see `distributed.all_reduce_gradients`).
        """
        mixed = None if mixing is None else (mixing.share, gather_rows(mixing.partners(labels)))
        return self.local_loss(gather_rows(outputs), gather_rows(labels), gather_rows(items), mixed)

    def local_loss(
        self, outputs: Tensor, labels: Tensor, items: Tensor, mixed: tuple[float, Tensor] | None = None
    ) -> LossValue:
        """Return the loss of these outputs alone, without those of other processes.

        mixed: the share of `labels` in each row, and the labels (n) of the partners, which have the rest.
        """
        label_part, identity_part = unit_parts(outputs, self._options.label_size)
        zero = outputs.sum() * 0.0
        indices = self._mine(label_part, labels)
        label = zero if self.label is None else self.label(label_part, labels, indices)
        if self.label is not None and mixed is not None:
            share, partners = mixed
            label = share * label + (1 - share) * self.label(label_part, partners)
        identity = zero if self.identity is None else self.identity(identity_part, items)
        total = self._options.label_weight * label + self._options.identity_weight * identity
        mined, active = _count_triplets(label_part.detach(), labels, indices, self._options.margin)
        return LossValue(total, label.item(), identity.item(), mined, active)

    @torch.no_grad()
    def _mine(self, vectors: Tensor, labels: Tensor) -> Any:
        """Return the miner's choice; None where the label loss takes no indices, or its memory mines them."""
        if self.miner is None or self._options.memory or self._options.label_loss not in PAIR_LOSSES:
            return None
        return self.miner(vectors, labels)


class CrossBatchMemory(losses.CrossBatchMemory):  # type: ignore[misc] # the library has no types
    """The library's cross-batch memory; its state also holds the fill level, which the library does not save.

    Wang et al., "Cross-Batch Memory for Embedding Learning", 2020.
    """

    def get_extra_state(self) -> dict[str, int]:
        return {"queue_idx": self.queue_idx, "has_been_filled": int(self.has_been_filled)}

    def set_extra_state(self, state: dict[str, int]) -> None:
        self.queue_idx, self.has_been_filled = state["queue_idx"], bool(state["has_been_filled"])


def build_label_loss(options: MetricOptions, classes: int, size: int) -> Any:
    """Return the loss that `options.label_loss` names for unit vectors (n, size) and labels below `classes`."""
    cosine = CosineSimilarity()
    match options.label_loss:
        case "softmax":
            return losses.NormalizedSoftmaxLoss(classes, size, temperature=1 / options.scale, distance=cosine)
        case "triplet":
            return losses.TripletMarginLoss(margin=options.margin, distance=cosine)
        case "multi-similarity":
            return losses.MultiSimilarityLoss(alpha=2, beta=options.scale, base=0.5, distance=cosine)
        case "proxy-anchor":
            return losses.ProxyAnchorLoss(classes, size, margin=options.margin, alpha=options.scale, distance=cosine)
        case "supcon":
            return losses.SupConLoss(temperature=options.temperature, distance=cosine)
        case "arcface":
            return losses.SubCenterArcFaceLoss(
                num_classes=classes,  # by name: its constructor looks for the names
                embedding_size=size,
                margin=math.degrees(options.margin),
                scale=options.scale,
                sub_centers=options.sub_centres,
                distance=cosine,
            )
        case _:
            return None


def build_identity_loss(options: MetricOptions) -> Any:
    """Return the loss that takes items for labels: views of one photo against all other photos of the batch.

    "ntxent" is the normalised temperature-scaled cross entropy of Chen et al., "A Simple Framework for Contrastive
    Learning of Visual Representations", 2020, equation 1.
    """
    match options.identity_loss:
        case "ntxent":
            return losses.NTXentLoss(temperature=options.temperature, distance=CosineSimilarity())
        case "triplet":
            return losses.TripletMarginLoss(margin=options.margin, distance=CosineSimilarity())
        case _:
            return None


def build_miner(options: MetricOptions) -> Any:
    """Return the miner that `options.miner` names, with the losses' margin and distance."""
    cosine = CosineSimilarity()
    match options.miner:
        case "none":
            return None
        case "multi-similarity":
            return miners.MultiSimilarityMiner(epsilon=options.margin, distance=cosine)
        case kind:
            return miners.TripletMarginMiner(margin=options.margin, type_of_triplets=kind, distance=cosine)


@torch.no_grad()
def _count_triplets(vectors: Tensor, labels: Tensor, indices: Any, margin: float) -> tuple[int, int]:
    """Return the number of triplets in `indices` (None: of the batch), and how many of them violate the margin."""
    cosines = vectors @ vectors.T
    if indices is None:
        return _count_all_triplets(cosines, labels, margin)
    anchors, positives, negatives = loss_and_miner_utils.convert_to_triplets(indices, labels)
    gap = cosines[anchors, positives] - cosines[anchors, negatives]
    return len(anchors), int((gap < margin).sum())


def _count_all_triplets(cosines: Tensor, labels: Tensor, margin: float) -> tuple[int, int]:
    """Count all n^3 triplets without listing them, by sorting each anchor's negatives."""
    same = labels[:, None] == labels
    positive = same & ~torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    negatives = cosines.masked_fill(same, -math.inf).sort(dim=1).values
    below_margin = torch.searchsorted(negatives, cosines - margin, right=True)  # (n, n), the -inf among them
    triplets = (positive.sum(dim=1) * (~same).sum(dim=1)).sum()
    return int(triplets), int(((len(labels) - below_margin) * positive).sum())
