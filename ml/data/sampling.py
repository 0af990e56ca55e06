"""Batch sampling: batches of P labels with K photos each, from the seed and the epoch alone."""

from collections.abc import Iterator
from typing import Literal

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Balance = Literal["none", "root", "full"]

POWER: dict[Balance, float] = {"none": 1.0, "root": 0.5, "full": 0.0}
"""The probability of a label is proportional to its number of photos to this power."""


def epoch_batches(labels: Ints, batch_size: int, per_label: int, balance: Balance, seed: int, epoch: int) -> list[Ints]:
    """Return the batches of one epoch, each at most `batch_size` positions in `labels`, about one draw per photo.

    A batch is filled with `per_label` photos of one label after another, or with all photos of a smaller label: no
    photo is twice in a batch, so that none is its own positive. Each label draws its photos without replacement
    and reshuffles when all were drawn. A last batch smaller than half is dropped, unless it is the only batch.
    """
    rng = np.random.default_rng([seed, epoch])
    size = min(batch_size, len(labels))
    samplers = [_LabelSampler(np.flatnonzero(labels == label), rng) for label in np.unique(labels)]
    weights = np.array([len(sampler) for sampler in samplers], dtype=np.float64) ** POWER[balance]
    full, rest = divmod(len(labels), size)
    sizes = [size] * full + ([rest] if rest >= size / 2 or not full else [])
    return [_draw_batch(samplers, weights / weights.sum(), size, per_label, rng) for size in sizes]


class _LabelSampler:
    """Draws the photos of one label without replacement, and reshuffles them when all were drawn."""

    def __init__(self, photos: Ints, rng: np.random.Generator) -> None:
        self._photos = photos
        self._rng = rng
        self._remaining: list[int] = []

    def __len__(self) -> int:
        return len(self._photos)

    def draw(self, count: int, in_batch: set[int]) -> Iterator[int]:
        """Yield up to `count` photos that are not in `in_batch`."""
        drawn = 0
        skipped: list[int] = []
        for _ in range(2 * len(self._photos)):
            if drawn == count:
                break
            if not self._remaining:
                self._remaining = self._rng.permutation(self._photos).tolist()
            photo = self._remaining.pop()
            if photo in in_batch:
                skipped.append(photo)
                continue
            drawn += 1
            yield photo
        self._remaining.extend(reversed(skipped))


def _draw_batch(
    samplers: list[_LabelSampler], weights: npt.NDArray[np.float64], size: int, per_label: int, rng: np.random.Generator
) -> Ints:
    batch: list[int] = []
    in_batch: set[int] = set()
    while len(batch) < size:
        sampler = samplers[rng.choice(len(samplers), p=weights)]
        for photo in sampler.draw(min(per_label, size - len(batch)), in_batch):
            batch.append(photo)
            in_batch.add(photo)
    return np.array(batch, dtype=np.int64)


def view_numbers(batch: Ints, views: int, copies: int, seed: int, epoch: int, step: int) -> Ints:
    """Return (copies, len(batch)) numbers of views, distinct for each photo if there are enough views.

    `views` > 0: among 0..views-1, the cached views; 0 is the photo itself. `views` == 0: numbers that no other epoch
    uses, so that each epoch has new views.
    """
    if views == 0:
        first = 1 + epoch * copies
        return np.tile(np.arange(first, first + copies, dtype=np.int64)[:, None], (1, len(batch)))
    rng = np.random.default_rng([seed, epoch, step])
    order = rng.random((len(batch), views)).argsort(axis=1).T  # (views, batch): a permutation for each photo
    return order[np.arange(copies) % views].astype(np.int64)
