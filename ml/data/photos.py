"""Training photos: selected by split, with numbered labels and items, validated before a run, decoded into memory."""

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
    """The photos cannot train a network: fewer than two labels, a label with one photo, or no validation photos."""

    code = "data_unfit"


@dataclass(frozen=True)
class PhotoSet:
    """Photos with numbered labels and items. `labels` (n,) are positions in `classes`, `items` (n,) number the items.

    `groups` (n): the contributor of each photo, or its item if the manifest has no contributor.
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
        """The number of photos by class (len(classes),)."""
        return np.bincount(self.labels, minlength=len(self.classes)).astype(np.int64)


def relabel(manifest: Manifest, column: str) -> Manifest:
    """Return the manifest with the values of `column` as labels, without photos that have no value.

    Raises `UnfitDataError` if there is no such column.
    """
    if column == "label":
        return manifest
    if any(column not in photo.extra for photo in manifest.photos):
        text = f"The manifest has no column {column!r}; set --label-column to a column with labels."
        raise UnfitDataError(text, code="column_missing")
    photos = tuple(replace(photo, label=photo.extra[column]) for photo in manifest.photos if photo.extra[column])
    return replace(manifest, photos=photos)


def select_training_photos(
    manifest: Manifest, train: Sequence[str], held_out: Sequence[str]
) -> tuple[PhotoSet, PhotoSet]:
    """Return the photos of the splits `train`, and those of `held_out` with a label of the training photos.

    Raises `UnfitDataError`.
    """
    train_photos = build_photo_set(manifest, train)
    held_out_photos = build_photo_set(manifest, held_out, train_photos.classes)
    _require_trainable(train_photos, held_out_photos)
    return train_photos, held_out_photos


def build_photo_set(manifest: Manifest, splits: Sequence[str], classes: Sequence[str] = ()) -> PhotoSet:
    """Return the photos of `splits`, in the order of the manifest.

    `classes`: the classes of the training; photos of other labels are left out. Default: all labels, sorted.
    """
    in_splits = [photo for photo in manifest.photos if photo.split in splits]
    classes = tuple(classes) or tuple(sorted({photo.label for photo in in_splits}))
    number = {name: position for position, name in enumerate(classes)}
    photos = tuple(photo for photo in in_splits if photo.label in number)
    return PhotoSet(
        manifest,
        photos,
        classes,
        np.array([number[photo.label] for photo in photos], dtype=np.int64),
        np.unique([photo.item for photo in photos], return_inverse=True)[1].astype(np.int64),
        tuple(photo.extra.get("contributor") or photo.item for photo in photos),
    )


def _require_trainable(train: PhotoSet, held_out: PhotoSet) -> None:
    if len(train.classes) < 2:
        raise UnfitDataError(
            f"Training needs photos of two labels or more; these are of {len(train.classes)}.", code="too_few_labels"
        )
    single = [name for name, count in zip(train.classes, train.counts, strict=True) if count < 2]
    if single:
        names = ", ".join(map(repr, single[:3])) + (" and others" if len(single) > 3 else "")
        text = f"Each label needs two train photos or more; there is only one of {names}. Add photos or drop the label."
        raise UnfitDataError(text, code="label_too_small")
    if not len(held_out):
        raise UnfitDataError("There are no photos outside the training splits to validate on.", code="nothing_held_out")


def decode_photos(photos: PhotoSet, longest: int, progress: Progress = silent) -> list[Image.Image]:
    """Decode all photos, upright RGB, shrunk to at most `longest` pixels on the longer side.

    The pictures stay in memory: 4,000 photos of 288 x 384 pixels are 1.3 GB. Raises `PictureError`.
    """

    def read(photo: Photo) -> Image.Image:
        return shrink(photos.manifest.read(photo), longest)

    return [raise_if_error(picture) for picture in read_ahead(progress(photos.photos, "decoding"), read)]


def shrink(picture: Image.Image, longest: int) -> Image.Image:
    """Return the picture with its longer side at most `longest` pixels, its aspect ratio unchanged."""
    scale = longest / max(picture.size)
    if scale >= 1:
        return picture
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return picture.resize(size, Image.Resampling.BICUBIC, reducing_gap=3.0)
