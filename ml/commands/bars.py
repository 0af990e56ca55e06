"""The progress bar of the commands."""

from collections.abc import Iterable, Sequence
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")


def bar(things: Sequence[T], what: str) -> Iterable[T]:
    """A `Progress` on stderr."""
    return tqdm(things, desc=what)
