"""Progress bar of the commands (tqdm on stderr)."""

from collections.abc import Iterable, Sequence
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")


def progress_bar(sequence: Sequence[T], label: str) -> Iterable[T]:
    """Iterate over `sequence` with a tqdm bar on stderr; implements `ml.progress.Progress`."""
    return tqdm(sequence, desc=label)
