"""The photos of a manifest as training sees them: decoded once, labels and items as numbers, checked before a run."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
from PIL import Image

from ml.data.manifest import Manifest, Photo
from ml.formats.errors import InputError
from ml.images.pictures import raise_if_error, read_ahead
from ml.progress import Progress, silent

Ints = npt.NDArray[np.int64]


class UnfitDataError(InputError):
    """A network cannot be trained on these photos: one label, a label of one photo, nothing to validate on."""


@dataclass(frozen=True)
class PhotoSet:
    """Photos with the classes they are numbered by. `labels` (n) indexes `classes`, `items` (n) numbers the items.

    `groups` (n) names the contributors where the manifest does, else the items.
    """

    manifest: Manifest
    photos: tuple[Photo, ...]
    classes: tuple[str, ...]
    labels: Ints
    items: Ints
    groups: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.photos)

    @cached_property
    def counts(self) -> Ints:
        """How many photos each class has (len(classes))."""
        return np.bincount(self.labels, minlength=len(self.classes)).astype(np.int64)


def relabel(manifest: Manifest, column: str) -> Manifest:
    """Return the photos with what stands in `column` as their label, those without any left out.

    Raises `UnfitDataError` where there is no such column.
    """
    if column == "label":
        return manifest
    if any(column not in photo.extra for photo in manifest.photos):
        raise UnfitDataError(f"The manifest has no column {column!r} to take the labels from.")
    kept = tuple(replace(photo, label=photo.extra[column]) for photo in manifest.photos if photo.extra[column])
    return replace(manifest, photos=kept)


def select_training_photos(
    manifest: Manifest, train: Sequence[str], held_out: Sequence[str]
) -> tuple[PhotoSet, PhotoSet]:
    """Return the photos of the splits to train on, and those of the others that have a label of these.

    Raises `UnfitDataError`.
    """
    chosen = build_photo_set(manifest, train)
    held = build_photo_set(manifest, held_out, chosen.classes)
    _require_trainable(chosen, held)
    return chosen, held


def build_photo_set(manifest: Manifest, splits: Sequence[str], classes: Sequence[str] = ()) -> PhotoSet:
    """Return the photos of `splits`, in the order of the manifest.

    `classes`: those of the training; photos of others are left out. Without it they are the labels found, sorted.
    """
    inside = [photo for photo in manifest.photos if photo.split in splits]
    known = tuple(classes) or tuple(sorted({photo.label for photo in inside}))
    number = {name: at for at, name in enumerate(known)}
    photos = tuple(photo for photo in inside if photo.label in number)
    return PhotoSet(
        manifest,
        photos,
        known,
        np.array([number[photo.label] for photo in photos], dtype=np.int64),
        np.unique([photo.item for photo in photos], return_inverse=True)[1].astype(np.int64),
        tuple(photo.extra.get("contributor") or photo.item for photo in photos),
    )


def _require_trainable(train: PhotoSet, held_out: PhotoSet) -> None:
    """For what would make a training meaningless: said before the long work starts."""
    if len(train.classes) < 2:
        raise UnfitDataError(f"Training needs photos of two labels or more; these are of {len(train.classes)}.")
    lonely = [name for name, count in zip(train.classes, train.counts, strict=True) if count < 2]
    if lonely:
        names = ", ".join(map(repr, lonely[:3])) + (" and others" if len(lonely) > 3 else "")
        raise UnfitDataError(f"Each label needs two train photos or more; {names} has not. Give or drop some.")
    if not len(held_out):
        raise UnfitDataError("There are no photos outside the training splits to validate on.")


def decode_photos(photos: PhotoSet, longest: int, progress: Progress = silent) -> list[Image.Image]:
    """Decode all photos, upright RGB, and shrink those whose longer side is above `longest` pixels.

    They stay in memory: 4,000 photos of 288 x 384 pixels are 1.3 GB. Raises `PictureError`.
    """

    def read(photo: Photo) -> Image.Image:
        return shrink(photos.manifest.read(photo), longest)

    return [raise_if_error(picture) for picture in read_ahead(progress(photos.photos, "decoding"), read)]


def shrink(picture: Image.Image, longest: int) -> Image.Image:
    """Return the picture, its proportions kept and its longer side at most `longest` pixels."""
    scale = longest / max(picture.size)
    if scale >= 1:
        return picture
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return picture.resize(size, Image.Resampling.BICUBIC, reducing_gap=3.0)
