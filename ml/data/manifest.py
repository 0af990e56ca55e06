"""The manifest: a CSV that lists photos with their label, their item and their split; read, checked, written."""

import csv
import hashlib
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from ml.formats.atomic_files import atomic_write
from ml.formats.errors import InputError
from ml.images.pictures import PictureError, read_picture

COLUMNS = ("path", "label", "item", "split")
SPLITS = ("train", "val", "test")

Box = tuple[int, int, int, int]
"""left, top, right, bottom in pixels of the upright picture; right and bottom are the first ones outside."""


class ManifestError(InputError):
    """The manifest cannot be used; the message names the line."""


@dataclass(frozen=True)
class Photo:
    """One line. `path`: relative to the manifest; `item`: groups photos of one garment; `more`: the other columns."""

    path: str
    label: str
    item: str
    split: str
    more: Mapping[str, str] = field(default_factory=dict)

    @property
    def box(self) -> Box | None:
        """What the column `box` says; None where it is empty or missing: the whole picture. Raises `ManifestError`."""
        text = self.more.get("box", "")
        if not text:
            return None
        try:
            left, top, right, bottom = (int(number) for number in text.split(","))
        except ValueError as error:
            raise ManifestError(f"{self.path!r} has the box {text!r}, which is not left,top,right,bottom.") from error
        if right <= left or bottom <= top:
            raise ManifestError(f"{self.path!r} has the box {text!r}, which holds nothing.")
        return left, top, right, bottom


@dataclass(frozen=True)
class Manifest:
    """The photos of a manifest and the folder that their paths start from."""

    folder: Path
    photos: tuple[Photo, ...]

    def file(self, photo: Photo) -> Path:
        """Where the picture lies."""
        return self.folder / photo.path

    def read(self, photo: Photo) -> Image.Image:
        """The picture, upright RGB, cropped to its box; a box that reaches over the edge ends there.

        Raises `PictureError`.
        """
        picture, box = read_picture(self.file(photo)), photo.box
        if box is None:
            return picture
        inside = within(box, picture.size)
        if inside is None:
            raise PictureError(f"The box of {photo.path!r} lies outside of its picture.")
        return picture.crop(inside)


@dataclass(frozen=True)
class Problem:
    """Something in a manifest that would spoil a training or an evaluation. `kind`: in a few words, for a heading."""

    kind: str
    text: str


def read_manifest(path: Path) -> Manifest:
    """Read a manifest and check columns, splits, boxes, that each file exists and is listed once, and that neither an
    item nor a picture straddles splits.

    Raises `ManifestError`.
    """
    manifest, broken_lines = read_leniently(path)
    if broken_lines:
        raise ManifestError(broken_lines[0].text)
    check_manifest(manifest)
    return manifest


def read_leniently(path: Path) -> tuple[Manifest, list[Problem]]:
    """Return the lines that can be understood, whatever they say, and what is wrong with the others.

    Raises `ManifestError` only where there is no table to read.
    """
    photos: list[Photo] = []
    broken: list[Problem] = []
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, strict=True)
            _require_columns(path, reader.fieldnames or [])
            for row in reader:
                try:
                    photos.append(_photo(row, reader.line_num))
                except ManifestError as error:
                    broken.append(Problem("broken lines", str(error)))
    except OSError as error:
        raise ManifestError(f"Cannot read the manifest {str(path)!r}: {error.strerror}.") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise ManifestError(f"{str(path)!r} is not a CSV file in UTF-8: {error}.") from error
    return Manifest(path.parent, tuple(photos)), broken


def check_manifest(manifest: Manifest) -> None:
    """Raise `ManifestError` at the first thing that would spoil a training or an evaluation."""
    for problem in problems_of(manifest):
        raise ManifestError(problem.text)


def problems_of(manifest: Manifest) -> Iterator[Problem]:
    """Yield everything that can be told without opening a picture, in the order of the lines.

    A picture may be listed several times, with a box for each of its garments.
    """
    if not manifest.photos:
        yield Problem("empty manifest", "The manifest lists no photos.")
    items, pictures = _Sides("items on both sides", "The item"), _Sides("pictures on both sides", "The picture")
    seen: set[tuple[str, str]] = set()
    for photo in manifest.photos:
        if photo.split not in SPLITS:
            text = f"{photo.path!r} is in the split {photo.split!r}; known are {', '.join(SPLITS)}."
            yield Problem("unknown splits", text)
        yield from items.problems(photo.item, photo.split)
        yield from pictures.problems(photo.path, photo.split)
        yield from _box_problems(photo)
        crop = (photo.path, photo.more.get("box", ""))
        if crop in seen:
            yield Problem("photos listed twice", f"{photo.path!r} is listed twice{' with one box' if crop[1] else ''}.")
        elif not manifest.file(photo).is_file():
            yield Problem("missing files", f"{photo.path!r} is listed, but there is no such file.")
        seen.add(crop)


def within(box: Box, size: tuple[int, int]) -> Box | None:
    """The part of `box` inside a picture of `size` (width, height); None where there is none."""
    left, top, right, bottom = max(box[0], 0), max(box[1], 0), min(box[2], size[0]), min(box[3], size[1])
    return (left, top, right, bottom) if left < right and top < bottom else None


def write_manifest(path: Path, photos: Sequence[Photo]) -> None:
    """Write a manifest as a whole or not at all. Raises `UnwritableError`."""
    extra = list(photos[0].more) if photos else []
    with atomic_write(path) as file:
        text = io.TextIOWrapper(file, encoding="utf-8", newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow([*COLUMNS, *extra])
        for photo in photos:
            known = (photo.path, photo.label, photo.item, photo.split)
            writer.writerow([*known, *(photo.more[name] for name in extra)])
        text.flush()
        text.detach()


def data_hash(manifest: Manifest, photos: Iterable[Photo]) -> str:
    """Return the sha256 over names, labels, items, splits, boxes and bytes of `photos`, whatever order and folder."""
    lines = []
    for photo in photos:
        box = (photo.more["box"],) if photo.more.get("box") else ()
        words = "\x00".join((Path(photo.path).name, photo.label, photo.item, photo.split, *box))
        lines.append(words.encode() + b"\n" + hashlib.sha256(manifest.file(photo).read_bytes()).digest())
    return hashlib.sha256(b"".join(sorted(lines))).hexdigest()


class _Sides:
    """Remembers in which split each item, or picture, was met first, and tells once of each that is in another."""

    def __init__(self, kind: str, noun: str) -> None:
        self.kind = kind
        self.noun = noun
        self._split_of: dict[str, str] = {}
        self._told: set[str] = set()

    def problems(self, name: str, split: str) -> Iterator[Problem]:
        first = self._split_of.setdefault(name, split)
        if first != split and name not in self._told:
            self._told.add(name)
            yield Problem(self.kind, f"{self.noun} {name!r} is in two splits, {first} and {split}.")


def _box_problems(photo: Photo) -> Iterator[Problem]:
    try:
        _ = photo.box
    except ManifestError as error:
        yield Problem("broken boxes", str(error))


def _require_columns(path: Path, found: Sequence[str]) -> None:
    missing = [name for name in COLUMNS if name not in found]
    if missing:
        raise ManifestError(f"{str(path)!r} has no column {', '.join(missing)}; needed are {', '.join(COLUMNS)}.")


def _photo(row: Mapping[str | None, str | None], line: int) -> Photo:
    values = {key: value for key, value in row.items() if key is not None}
    if None in row or None in values.values():
        raise ManifestError(f"Line {line} of the manifest has more or fewer fields than the heading.")
    texts = {key: str(value) for key, value in values.items()}
    if not all(texts[name].strip() for name in COLUMNS):
        raise ManifestError(f"Line {line} of the manifest has an empty {', '.join(COLUMNS)}.")
    path, label, item, split = (texts.pop(name) for name in COLUMNS)
    return Photo(path, label, item, split, texts)
