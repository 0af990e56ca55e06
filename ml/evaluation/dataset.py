"""Evaluation dataset: which photos of a manifest are queries and which the gallery; labels as numbers."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ml.data.manifest import Manifest, Photo
from ml.evaluation.retrieval import Ints
from ml.formats.errors import InputError
from ml.formats.manifest_csv import SPLITS

HELD_OUT = ("val", "test")
"""The splits of the queries by default: the photos that an encoder was not trained on."""

ROLES = ("query", "gallery")


class EvaluationError(InputError):
    """The manifest has no queries or gallery, or the encoders cannot be compared."""

    code = "evaluation_impossible"


@dataclass(frozen=True)
class EvaluationDataset:
    """The rows of `manifest.photos` that are queries (q,) and gallery (g,), and the keys of every photo (n,).

    `labels`: the position of its label in `label_names`. `items`: a number for its item. `owners`: a number for its
    contributor, or for its item if the manifest has no contributors (`owner` says which). By label, photos of the same
    owner are not matched with each other; in the confidence intervals they form one cluster.
    """

    manifest: Manifest
    splits: tuple[str, ...]
    queries: Ints
    gallery: Ints
    labels: Ints
    label_names: tuple[str, ...]
    items: Ints
    owners: Ints
    owner: Literal["contributor", "item"]

    def photos(self, rows: Ints) -> list[Photo]:
        """Return the photos of these rows, in their order."""
        return [self.manifest.photos[row] for row in rows]


def build_dataset(manifest: Manifest, split: str | None = None, label_column: str = "label") -> EvaluationDataset:
    """Choose the queries and the gallery of a manifest.

    Queries: the photos of `split`, by default of val and test. Gallery: all photos. If photos of these splits have the
    value `query` or `gallery` in the column `role`, that column chooses the queries and the gallery. `label_column`:
    the column with the labels. Raises `EvaluationError`.
    """
    if split is not None and split not in SPLITS:
        raise EvaluationError(f"There is no split {split!r}; known are {', '.join(SPLITS)}.", code="split_unknown")
    photos = manifest.photos
    splits = HELD_OUT if split is None else (split,)
    queries, gallery = _split_by_role(photos, splits)
    names, labels = _number_names(_read_label(photo, label_column) for photo in photos)
    return EvaluationDataset(
        manifest=manifest,
        splits=splits,
        queries=queries,
        gallery=gallery,
        labels=labels,
        label_names=names,
        items=_number_names(photo.item for photo in photos)[1],
        owners=_number_names(_owner_key(photo) for photo in photos)[1],
        owner="contributor" if any(photo.extra.get("contributor") for photo in photos) else "item",
    )


def require_two_labels(dataset: EvaluationDataset) -> None:
    """Raise `EvaluationError` if all photos have the same label: every result would be right."""
    if len(dataset.label_names) < 2:
        text = f"All photos have the label {dataset.label_names[0]!r}, so every answer is right."
        raise EvaluationError(text, code="single_label")


def _split_by_role(photos: Sequence[Photo], splits: Sequence[str]) -> tuple[Ints, Ints]:
    """Return the rows of the queries and of the gallery."""
    in_splits = np.array([photo.split in splits for photo in photos], dtype=np.bool_)
    query, gallery = (in_splits & np.array([photo.extra.get("role") == role for photo in photos]) for role in ROLES)
    if not (query.any() or gallery.any()):
        query, gallery = in_splits, np.ones_like(in_splits)
    for chosen, noun, code in ((query, "photos", "no_queries"), (gallery, "gallery photos", "no_gallery")):
        if not chosen.any():
            text = f"The manifest has no {noun} to measure with in the split {' or '.join(splits)}."
            raise EvaluationError(text, code=code)
    return np.flatnonzero(query), np.flatnonzero(gallery)


def _read_label(photo: Photo, column: str) -> str:
    label = photo.label if column == "label" else photo.extra.get(column)
    if label is None:
        text = f"The manifest has no column {column!r}; set --label-column to a column with labels."
        raise EvaluationError(text, code="column_missing")
    if not label.strip():
        raise EvaluationError(f"{photo.path!r} has no value in the column {column!r}.", code="label_empty")
    return label


def _owner_key(photo: Photo) -> str:
    """Return the owner with the prefix "contributor" or "item", since contributor 7 and item 7 are different owners."""
    contributor = photo.extra.get("contributor")
    return f"contributor {contributor}" if contributor else f"item {photo.item}"


def _number_names(names: Iterable[str]) -> tuple[tuple[str, ...], Ints]:
    distinct, numbers = np.unique(list(names), return_inverse=True)
    return tuple(distinct.tolist()), numbers.astype(np.int64)
