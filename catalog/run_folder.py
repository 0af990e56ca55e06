"""Where the files of a training run are.

log.txt    what the training said
lock       held by whoever trains
data.csv   the photos, data.json what they are; photos/ has copies of those that the storage keeps elsewhere
run/       what `ml` writes: metrics.jsonl, pictures, checkpoint.pt
cache/     kept views
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Final
from uuid import UUID

from django.conf import settings

from catalog.models import TrainingRun

# Every picture that a run may have: first how it goes, then what the network says.
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
    """The folder of a run; it need not be there."""
    return Path(settings.RUNS_DIR / str(run.pk))


def run_pictures(run: TrainingRun) -> list[str]:
    """The names of the pictures of its latest epoch, in the order to show them; none before the first epoch's end."""
    return [name for name in PICTURES if (run_folder(run) / "run" / name).is_file()]


def run_picture(run: TrainingRun, name: str) -> Path:
    """The file of one of `run_pictures`. FileNotFoundError for any other name, so no name leads out of the folder."""
    if name not in run_pictures(run):
        raise FileNotFoundError(f"{run} has no picture {name!r}.")
    return run_folder(run) / "run" / name


def photo_copies_delete(photo_ids: Iterable[UUID]) -> None:
    """Delete the copies that runs have of people's photos, where the storage keeps the photos on other machines."""
    for photo_id in photo_ids:
        for copy in Path(settings.RUNS_DIR).glob(f"*/photos/{photo_id}.jpg"):
            copy.unlink(missing_ok=True)


def run_encoder_folder(run: TrainingRun) -> Path:
    """Where its encoder is written: a folder that appears when it is whole."""
    return Path(settings.ENCODER_DIRS[0] / run.name)
