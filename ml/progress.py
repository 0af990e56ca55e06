"""Progress reporting of long work: the command line passes a progress bar, other callers nothing."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Step:
    """The state of a run after a batch. `loss` is that of the batch, `means` are those of the epoch so far.

    `seconds_left`: the estimate for all remaining epochs with their validation; None before there is one.
    """

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    photos_per_second: float
    seconds_left: float | None
    means: Mapping[str, float]


class Progress(Protocol):
    """Iterates over `sequence` and reports progress, as tqdm does; `label` describes the work in a few words."""

    def __call__(self, sequence: Sequence[T], label: str) -> Iterable[T]: ...


def silent(sequence: Sequence[T], label: str) -> Iterable[T]:
    """Return `sequence` unchanged: the `Progress` without output."""
    del label
    return sequence
