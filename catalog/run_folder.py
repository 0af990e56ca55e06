"""The folder of a training run and its files.

log.txt    output of the training process
lock       file lock held by the training process
data.csv   manifest of the photos; data.json describes it; photos/ holds copies of files from a remote storage
run/       output of `ml`: metrics.jsonl, pictures, checkpoint.pt
cache/     cached views
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Final
from uuid import UUID

from django.conf import settings

from catalog.models import TrainingRun

# The pictures of a run in display order: training curves first, then predictions.
PICTURES: Final = (
    "loss.png",
    "accuracy.png",
    "retrieval.png",
    "mined.png",
    "spread.png",
    "predictions.png",
    "strips.png",
    "worst.png",
    "confusion.png",
    "map.png",
)


def run_folder(run: TrainingRun) -> Path:
    """The folder of a run; it may not exist."""
    return Path(settings.RUNS_DIR / str(run.pk))


def run_pictures(run: TrainingRun) -> list[str]:
    """The names of the existing pictures, in display order; empty before the end of the first epoch."""
    return [name for name in PICTURES if (run_folder(run) / "run" / name).is_file()]


def run_picture(run: TrainingRun, name: str) -> Path:
    """The path of one of `run_pictures`. Raises `FileNotFoundError` for other names (no path traversal)."""
    if name not in run_pictures(run):
        raise FileNotFoundError(f"{run} has no picture {name!r}.")
    return run_folder(run) / "run" / name


def photo_copies_delete(photo_ids: Iterable[UUID]) -> None:
    """Delete the copies of users' photos from all run folders (made when the storage is remote)."""
    for photo_id in photo_ids:
        for copy in Path(settings.RUNS_DIR).glob(f"*/photos/{photo_id}.jpg"):
            copy.unlink(missing_ok=True)


def run_encoder_folder(run: TrainingRun) -> Path:
    """The encoder folder that the run writes; it appears when it is complete."""
    return Path(settings.ENCODER_DIRS[0] / run.name)
