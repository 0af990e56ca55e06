"""Pictures that a training run writes after each epoch: predictions, nearest photos, confusion matrix, curves."""

from dataclasses import dataclass

from PIL import Image, UnidentifiedImageError

from catalog.models import TrainingRun
from catalog.run_folder import run_picture, run_pictures

TITLES = {
    "predictions": (
        "Predictions",
        "The same photos in each epoch. A wrong answer that looks right may be a wrong label.",
    ),
    "strips": ("Nearest photos", "Validation photos, each with the nearest photos of other contributors."),
    "worst": ("Worst queries", "The validation photos with the fewest right answers."),
    "confusion": ("Confusion matrix", "Which labels are confused with each other."),
    "map": ("Map of the embeddings", "Close points are similar. Distances between far groups have no meaning."),
    "retrieval": ("Retrieval", "Metrics per epoch."),
    "accuracy": ("Accuracy", "Per epoch."),
    "loss": ("Loss", "Per epoch."),
    "mined": ("Triplets", "Mined and active, per epoch."),
    "spread": ("Spread", "Near 0 the embeddings have collapsed."),
}
CURVES = ("retrieval", "accuracy", "loss", "mined", "spread")


@dataclass(frozen=True)
class RunPicture:
    """One picture. `version` is part of its URL and changes when it is redrawn, so browsers may cache it."""

    name: str
    title: str
    caption: str
    width: int
    height: int
    version: str

    @property
    def is_curve(self) -> bool:
        """Whether it shows metrics per epoch, which the page also draws as SVG."""
        return _stem(self.name) in CURVES


def list_pictures(run: TrainingRun) -> list[RunPicture]:
    """The pictures of the latest epoch in the order of `TITLES`, photos before curves."""
    epoch = run.metrics[-1].get("epoch", len(run.metrics)) if run.metrics else 0
    pictures = [picture for name in run_pictures(run) if (picture := _load_picture(run, name, int(epoch)))]
    order = {name: position for position, name in enumerate(TITLES)}
    return sorted(pictures, key=lambda picture: order.get(_stem(picture.name), len(order)))


def _load_picture(run: TrainingRun, name: str, epoch: int) -> RunPicture | None:
    """Read the size of a picture; None if its file is missing or only half written."""
    title, caption = TITLES.get(_stem(name), (_stem(name).capitalize(), ""))
    try:
        path = run_picture(run, name)
        with Image.open(path) as picture:
            width, height = picture.size
        modified_at = int(path.stat().st_mtime)
    except (OSError, UnidentifiedImageError):
        return None
    return RunPicture(name, title, caption, width, height, f"{epoch}-{modified_at}")


def _stem(name: str) -> str:
    return name.removesuffix(".png")
