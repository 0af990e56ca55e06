"""The pictures that a training draws after each epoch."""

from dataclasses import dataclass

from PIL import Image, UnidentifiedImageError

from catalog.models import TrainingRun
from catalog.run_folder import run_picture, run_pictures

TITLES = {
    "predictions": ("Predictions", "The same photos in each epoch; a wrong one that looks right has a wrong label."),
    "strips": ("Photos and their nearest", "Held-out photos, each with the nearest of other contributors."),
    "worst": ("The worst queries", "The held-out photos with the fewest right answers."),
    "confusion": ("Confusion", "Which labels are taken for each other."),
    "map": ("Map of the vectors", "Neighbours are alike; distances between far groups mean nothing."),
    "retrieval": ("Retrieval", "What is found, by epoch."),
    "accuracy": ("Accuracy", "By epoch."),
    "loss": ("Loss", "By epoch."),
    "mined": ("Triplets", "Mined and active, by epoch."),
    "spread": ("Spread", "Near 0 the vectors have run together."),
}
CURVES = ("retrieval", "accuracy", "loss", "mined", "spread")


@dataclass(frozen=True)
class Picture:
    """One picture. `version` changes with the epoch that it was drawn after, so that browsers may keep it."""

    name: str
    title: str
    told: str
    width: int
    height: int
    version: str

    @property
    def is_curve(self) -> bool:
        """Whether it shows how figures went, which the page itself draws too."""
        return _stem(self.name) in CURVES


def pictures_shown(run: TrainingRun) -> list[Picture]:
    """What the latest epoch drew, the pictures of photos first."""
    epoch = run.metrics[-1].get("epoch", len(run.metrics)) if run.metrics else 0
    pictures = [picture for name in run_pictures(run) if (picture := _picture(run, name, int(epoch)))]
    known = {name: place for place, name in enumerate(TITLES)}
    return sorted(pictures, key=lambda picture: known.get(_stem(picture.name), len(known)))


def _picture(run: TrainingRun, name: str, epoch: int) -> Picture | None:
    """None if it is being written at this moment."""
    title, told = TITLES.get(_stem(name), (_stem(name).capitalize(), ""))
    try:
        path = run_picture(run, name)
        with Image.open(path) as picture:
            width, height = picture.size
        written = int(path.stat().st_mtime)
    except (OSError, UnidentifiedImageError):
        return None
    return Picture(name, title, told, width, height, f"{epoch}-{written}")


def _stem(name: str) -> str:
    return name.removesuffix(".png")
