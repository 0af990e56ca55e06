"""The progress bar of the commands."""

from collections.abc import Iterable, Sequence
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")


def bar(sequence: Sequence[T], label: str) -> Iterable[T]:
    """A `Progress` on stderr."""
    return tqdm(sequence, desc=label)
