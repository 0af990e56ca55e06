"""After a metric run: the label's part of the vectors is drawn towards prototypes, as far as garments are still found.

Training alone leaves the labels as loose clouds: photos of one label are near each other, but so are photos between two
labels, and MAP@R, which looks at all photos of a label, suffers. How far to draw is a bargain: vectors that say nothing
but the label no longer tell its garments apart.
"""

from itertools import product

import numpy as np
import torch

from ml.encoder.network import PartsHead
from ml.progress import Progress, silent
from ml.training.dataset import CLEAN, PHONE, TrainingData
from ml.training.metric import MetricTask
from ml.training.model import TrainableEncoder
from ml.training.task import features_of
from ml.vectors import Floats, unit_rows

SHARPNESSES = (4.0, 6.0, 8.0, 12.0, 16.0, 24.0)
SHARES = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8)

GARMENT_COST = 0.02
"""How much of garment_at_1 the labels may cost, against the best of all bargains: two photos of a hundred."""


def refine_with_prototypes(
    encoder: TrainableEncoder, task: MetricTask, data: TrainingData, progress: Progress = silent
) -> tuple[float, float]:
    """Give the head its prototypes, and return the sharpness and the label's share that were chosen.

    The prototype of a label is the mean direction of its train photos. Of all bargains that keep garment_at_1 within
    `GARMENT_COST` of the best, the one with the highest MAP@R on the held-out photos is taken.
    """
    head = encoder.network.head
    if not isinstance(head, PartsHead):
        raise TypeError("only a vector of two parts can be sharpened")
    features = [features_of(encoder, data.train_store, len(data.train), CLEAN)]
    features += [features_of(encoder, data.held_out_store, len(data.held_out), view) for view in (CLEAN, PHONE)]
    with torch.inference_mode():
        label = head.parts(torch.from_numpy(features[0]))[0].numpy()
    prototypes = torch.from_numpy(_mean_directions(label, data.train.labels, len(data.train.classes)))
    found: dict[tuple[float, float], dict[str, float]] = {}
    for sharpness, share in progress(list(product(SHARPNESSES, SHARES)), "sharpening"):
        with torch.no_grad():
            head.refine(prototypes, sharpness, share)
            vectors = [unit_rows(head(torch.from_numpy(rows)).numpy()) for rows in features]
        found[sharpness, share] = task.figures(*vectors)
    enough = max(figures["garment_at_1"] for figures in found.values()) - GARMENT_COST
    bargains = [bargain for bargain, figures in found.items() if figures["garment_at_1"] >= enough]
    chosen = max(bargains, key=lambda bargain: found[bargain]["map_at_r"])
    with torch.no_grad():
        head.refine(prototypes, *chosen)
    return chosen


def _mean_directions(vectors: Floats, labels: np.ndarray, count: int) -> Floats:
    """Return the mean of the unit vectors (n, d) of each label, made unit vectors again (count, d)."""
    return unit_rows(np.stack([vectors[labels == label].mean(axis=0) for label in range(count)]))
