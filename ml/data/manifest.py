"""Manifests: lists of photos with label, item and split; read, validated, written, hashed."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from ml.formats.atomic_files import translate_to_unwritable
from ml.formats.manifest_csv import COLUMNS, SPLITS, ManifestError, Row, read_rows, write_rows
from ml.images.pictures import PictureError, read_picture

Box = tuple[int, int, int, int]
"""Bounding box: left, top, right, bottom in pixels of the upright picture; right and bottom are exclusive."""


@dataclass(frozen=True)
class Photo:
    """One row. `path`: relative to the manifest; `item`: groups photos of one garment; `extra`: the other columns."""

    path: str
    label: str
    item: str
    split: str
    extra: Mapping[str, str] = field(default_factory=dict)

    @property
    def box(self) -> Box | None:
        """The bounding box; None for the whole picture (no column `box`, or no value). Raises `ManifestError`."""
        text = self.extra.get("box", "")
        if not text:
            return None
        try:
            left, top, right, bottom = (int(number) for number in text.split(","))
        except ValueError as error:
            message = f"{self.path!r} has the box {text!r}, which is not left,top,right,bottom."
            raise ManifestError(message, code="box_malformed") from error
        if right <= left or bottom <= top:
            raise ManifestError(f"{self.path!r} has the box {text!r}, which is empty.", code="box_empty")
        return left, top, right, bottom


@dataclass(frozen=True)
class Manifest:
    """The photos of a manifest and the folder to which their paths are relative."""

    folder: Path
    photos: tuple[Photo, ...]

    def file(self, photo: Photo) -> Path:
        """Return the path of the picture file."""
        return self.folder / photo.path

    def read(self, photo: Photo) -> Image.Image:
        """Decode the picture, upright RGB, cropped to the part of its box inside the picture. Raises `PictureError`."""
        picture, box = read_picture(self.file(photo)), photo.box
        if box is None:
            return picture
        inside = clip_box(box, picture.size)
        if inside is None:
            raise PictureError(f"The box of {photo.path!r} lies outside its picture.", code="box_outside")
        return picture.crop(inside)


@dataclass(frozen=True)
class ManifestProblem:
    """A problem of a manifest or its photos. `kind`: a heading of a few words; `code`: of the error it is raised as."""

    kind: str
    text: str
    code: str = ManifestError.code


def read_manifest(path: Path) -> Manifest:
    """Read and validate a manifest: columns, splits, boxes; each file exists and is listed once per box; no item and
    no picture is in two splits.

    Raises `ManifestError` at the first problem.
    """
    manifest = Manifest(path.parent, tuple(map(_parse_photo, read_rows(path))))
    validate_manifest(manifest)
    return manifest


def read_valid_lines(path: Path) -> tuple[Manifest, list[ManifestProblem]]:
    """Return the well-formed lines, not yet validated, and one problem for each malformed line.

    Raises `ManifestError` only if there is no table to read.
    """
    problems: list[ManifestProblem] = []
    rows = read_rows(path, lambda error: problems.append(ManifestProblem("malformed lines", str(error), error.code)))
    return Manifest(path.parent, tuple(map(_parse_photo, rows))), problems


def validate_manifest(manifest: Manifest) -> None:
    """Raise `ManifestError` at the first problem that `find_problems` finds."""
    for problem in find_problems(manifest):
        raise ManifestError(problem.text, code=problem.code)


def find_problems(manifest: Manifest) -> Iterator[ManifestProblem]:
    """Yield all problems that can be found without opening a picture, in the order of the lines.

    A picture may be listed several times, with one box for each of its garments.
    """
    if not manifest.photos:
        yield ManifestProblem("empty manifest", "The manifest lists no photos.", "manifest_empty")
    items, pictures = _SplitCheck("item"), _SplitCheck("picture")
    listed: set[tuple[str, str]] = set()
    for photo in manifest.photos:
        if photo.split not in SPLITS:
            text = f"{photo.path!r} is in the split {photo.split!r}; known are {', '.join(SPLITS)}."
            yield ManifestProblem("unknown splits", text, "split_unknown")
        yield from items.problems(photo.item, photo.split)
        yield from pictures.problems(photo.path, photo.split)
        yield from _box_problems(photo)
        crop = (photo.path, photo.extra.get("box", ""))
        if crop in listed:
            text = f"{photo.path!r} is listed twice{' with one box' if crop[1] else ''}."
            yield ManifestProblem("photos listed twice", text, "photo_listed_twice")
        elif not manifest.file(photo).is_file():
            text = f"{photo.path!r} is listed, but there is no such file."
            yield ManifestProblem("missing files", text, "file_missing")
        listed.add(crop)


def clip_box(box: Box, size: tuple[int, int]) -> Box | None:
    """Return the part of `box` inside a picture of `size` (width, height); None if they do not overlap."""
    left, top, right, bottom = max(box[0], 0), max(box[1], 0), min(box[2], size[0]), min(box[3], size[1])
    return (left, top, right, bottom) if left < right and top < bottom else None


def write_manifest(path: Path, photos: Sequence[Photo]) -> None:
    """Write a manifest atomically, with the extra columns of the first photo.

    Raises `KeyError` for a photo without one of them, and `UnwritableError`.
    """
    columns = [*COLUMNS, *(photos[0].extra if photos else ())]
    with translate_to_unwritable(path):
        write_rows(path, columns, map(_format_row, photos))


def data_hash(manifest: Manifest, photos: Iterable[Photo]) -> str:
    """Return the sha256 of the names, labels, items, splits, boxes and bytes of `photos`.

    The hash depends neither on the order of the photos nor on the folder.
    """
    lines = []
    for photo in photos:
        box = (photo.extra["box"],) if photo.extra.get("box") else ()
        fields = "\x00".join((Path(photo.path).name, photo.label, photo.item, photo.split, *box))
        lines.append(fields.encode() + b"\n" + hashlib.sha256(manifest.file(photo).read_bytes()).digest())
    return hashlib.sha256(b"".join(sorted(lines))).hexdigest()


class _SplitCheck:
    """Finds items, or pictures, that are in two splits; reports each name once."""

    def __init__(self, noun: str) -> None:
        self._noun = noun
        self._split_of: dict[str, str] = {}
        self._reported: set[str] = set()

    def problems(self, name: str, split: str) -> Iterator[ManifestProblem]:
        first = self._split_of.setdefault(name, split)
        if first != split and name not in self._reported:
            self._reported.add(name)
            text = f"The {self._noun} {name!r} is in two splits, {first} and {split}."
            yield ManifestProblem(f"{self._noun}s in two splits", text, "splits_overlap")


def _box_problems(photo: Photo) -> Iterator[ManifestProblem]:
    try:
        _ = photo.box
    except ManifestError as error:
        yield ManifestProblem("malformed boxes", str(error), error.code)


def _parse_photo(row: Row) -> Photo:
    extra = {name: value for name, value in row.items() if name not in COLUMNS}
    return Photo(row["path"], row["label"], row["item"], row["split"], extra)


def _format_row(photo: Photo) -> Row:
    return {"path": photo.path, "label": photo.label, "item": photo.item, "split": photo.split, **photo.extra}
