"""Options and naive reference computations for the tests of losses."""

import numpy as np

from ml.training.options import MetricOptions

OPTIONS = MetricOptions(
    embedding_size=8,
    label_size=3,
    label_loss="triplet",
    miner="none",
    margin=0.2,
    scale=10.0,
    temperature=0.3,
    batch_size=5,
)


def unit(vectors):
    vectors = np.asarray(vectors, dtype=float)
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def mean_of_losses_above_zero(losses) -> float:
    above = [loss for loss in losses if loss > 0]
    return sum(above) / len(above) if above else 0.0
