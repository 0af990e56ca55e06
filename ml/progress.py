"""How long work tells how far it is: the command line hands in a progress bar, everybody else nothing."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Step:
    """How far a run is after a batch. `loss` is that of the batch, `means` are those of the epoch so far.

    `seconds_left` is for all the epochs that are left, with their validation; None until something is known.
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
    """Hands on `things` one by one and shows how many are gone; `what` says in a few words what is done with them."""

    def __call__(self, things: Sequence[T], what: str) -> Iterable[T]: ...


def silent(things: Sequence[T], what: str) -> Iterable[T]:
    """A `Progress` that shows nothing."""
    del what
    return things
