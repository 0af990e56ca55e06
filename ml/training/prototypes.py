"""Prototype refinement: after a metric run, move the label part of the vectors towards one prototype per label.

Training alone leaves each label as a loose cluster: photos of one label are near each other, but so are photos between
two labels, which lowers MAP@R, a metric over all photos of a label. The strength is a trade-off: vectors that encode
only the label do not distinguish garments of that label.
"""

from itertools import product

import numpy as np
import torch

from ml.encoder.network import PartsHead
from ml.progress import Progress, silent
from ml.training.dataset import CLEAN, PHONE, TrainingData
from ml.training.metric import MetricTask
from ml.training.model import TrainableEncoder
from ml.training.task import compute_features
from ml.vectors import Floats, unit_rows

INVERSE_TEMPERATURES = (4.0, 6.0, 8.0, 12.0, 16.0, 24.0)
SHARES = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8)

MAX_GARMENT_LOSS = 0.02
"""Largest loss of garment_at_1 against the best setting: two photos of a hundred."""


def refine_with_prototypes(
    encoder: TrainableEncoder, task: MetricTask, data: TrainingData, progress: Progress = silent
) -> tuple[float, float]:
    """Fit the prototypes of the head; return the inverse temperature and the label's share that were chosen.

    The prototype of a label is the mean direction of its train photos. Of all settings whose garment_at_1 is within
    `MAX_GARMENT_LOSS` of the best, the one with the highest MAP@R on the held-out photos is chosen. Raises `TypeError`
    for a head without a label part.
    """
    head = encoder.network.head
    if not isinstance(head, PartsHead):
        raise TypeError("Prototype refinement needs a PartsHead (label_size above 0).")
    features = [compute_features(encoder, data.train_cache, len(data.train), CLEAN)]
    features += [compute_features(encoder, data.held_out_cache, len(data.held_out), view) for view in (CLEAN, PHONE)]
    with torch.inference_mode():
        label_part = head.parts(torch.from_numpy(features[0]))[0].numpy()
    prototypes = torch.from_numpy(_mean_directions(label_part, data.train.labels, len(data.train.classes)))
    results: dict[tuple[float, float], dict[str, float]] = {}
    for inverse_temperature, share in progress(list(product(INVERSE_TEMPERATURES, SHARES)), "refining prototypes"):
        with torch.no_grad():
            head.refine(prototypes, inverse_temperature, share)
            vectors = [unit_rows(head(torch.from_numpy(rows)).numpy()) for rows in features]
        results[inverse_temperature, share] = task.figures(*vectors)
    lowest = max(figures["garment_at_1"] for figures in results.values()) - MAX_GARMENT_LOSS
    allowed = [setting for setting, figures in results.items() if figures["garment_at_1"] >= lowest]
    chosen = max(allowed, key=lambda setting: results[setting]["map_at_r"])
    with torch.no_grad():
        head.refine(prototypes, *chosen)
    return chosen


def _mean_directions(vectors: Floats, labels: np.ndarray, count: int) -> Floats:
    """Return the normalised mean (count, d) of the unit vectors (n, d) of each label."""
    return unit_rows(np.stack([vectors[labels == label].mean(axis=0) for label in range(count)]))
