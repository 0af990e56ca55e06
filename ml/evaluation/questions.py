"""Which photos of a manifest ask and which may answer."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ml.data.manifest import Manifest, Photo
from ml.evaluation.retrieval import Ints
from ml.formats.errors import InputError
from ml.formats.manifest_csv import SPLITS

HELD_OUT = ("val", "test")
"""The splits that ask where none is named: what an encoder was not trained on."""

ROLES = ("query", "gallery")


class EvaluationError(InputError):
    """The manifest has nothing to measure an encoder by, or the encoders cannot be measured so."""


@dataclass(frozen=True)
class Questions:
    """The rows of `manifest.photos` that ask (q,) and that may answer (g,), and what is known of every photo (n,).

    `labels`: the position of its label in `label_names`. `items`: a number for its item. `owners`: a number for its
    contributor, or for its item where the manifest does not tell (`owner` says which): photos of one owner are no
    answer to each other by label, and belong together in the intervals.
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
        """The photos of these rows, in their order."""
        return [self.manifest.photos[row] for row in rows]


def questions_of(manifest: Manifest, split: str | None = None, label_column: str = "label") -> Questions:
    """Choose the queries and the gallery of a manifest.

    Queries: the photos of `split`, or of val and test where it is None. Gallery: all photos. Where photos of these
    splits have the role (a column) `query` or `gallery`, those are the queries and those the gallery. `label_column`:
    what is to be found, `label` or another column of the manifest. Raises `EvaluationError`.
    """
    if split is not None and split not in SPLITS:
        raise EvaluationError(f"There is no split {split!r}; known are {', '.join(SPLITS)}.")
    photos = manifest.photos
    splits = HELD_OUT if split is None else (split,)
    queries, gallery = _asked_and_answering(photos, splits)
    names, labels = _numbered(_label(photo, label_column) for photo in photos)
    return Questions(
        manifest=manifest,
        splits=splits,
        queries=queries,
        gallery=gallery,
        labels=labels,
        label_names=names,
        items=_numbered(photo.item for photo in photos)[1],
        owners=_numbered(_owner(photo) for photo in photos)[1],
        owner="contributor" if any(photo.extra.get("contributor") for photo in photos) else "item",
    )


def require_two_labels(questions: Questions) -> None:
    """Raise `EvaluationError` where every photo has the same label: whatever an encoder finds would be right."""
    if len(questions.label_names) < 2:
        raise EvaluationError(f"All photos have the label {questions.label_names[0]!r}, so every answer is right.")


def _asked_and_answering(photos: Sequence[Photo], splits: Sequence[str]) -> tuple[Ints, Ints]:
    asked = np.array([photo.split in splits for photo in photos], dtype=np.bool_)
    query, gallery = (asked & np.array([photo.extra.get("role") == role for photo in photos]) for role in ROLES)
    if not (query.any() or gallery.any()):
        query, gallery = asked, np.ones_like(asked)
    for chosen, what in ((query, "photos"), (gallery, "gallery photos")):
        if not chosen.any():
            raise EvaluationError(f"The manifest has no {what} to measure with in the split {' or '.join(splits)}.")
    return np.flatnonzero(query), np.flatnonzero(gallery)


def _label(photo: Photo, column: str) -> str:
    label = photo.label if column == "label" else photo.extra.get(column)
    if label is None:
        raise EvaluationError(f"The manifest has no column {column!r} to take the labels from.")
    if not label.strip():
        raise EvaluationError(f"{photo.path!r} has nothing in the column {column!r}.")
    return label


def _owner(photo: Photo) -> str:
    """The two kinds of names are kept apart: contributor 7 and item 7 are not the same."""
    contributor = photo.extra.get("contributor")
    return f"contributor {contributor}" if contributor else f"item {photo.item}"


def _numbered(names: Iterable[str]) -> tuple[tuple[str, ...], Ints]:
    known, numbers = np.unique(list(names), return_inverse=True)
    return tuple(known.tolist()), numbers.astype(np.int64)
