"""The manifest: a CSV that lists photos with their label, their item and their split; read, checked, written."""

import csv
import hashlib
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ml.errors import InputError
from ml.files import written_whole

COLUMNS = ("path", "label", "item", "split")
SPLITS = ("train", "val", "test")


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


@dataclass(frozen=True)
class Manifest:
    """The photos of a manifest and the folder that their paths start from."""

    folder: Path
    photos: tuple[Photo, ...]

    def file(self, photo: Photo) -> Path:
        """Where the picture lies."""
        return self.folder / photo.path


def read_manifest(path: Path) -> Manifest:
    """Read a manifest and check columns, splits, that each file exists once and that no item straddles splits.

    Raises `ManifestError`.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, strict=True)
            _require_columns(path, reader.fieldnames or [])
            photos = tuple(_photo(row, reader.line_num) for row in reader)
    except OSError as error:
        raise ManifestError(f"Cannot read the manifest {str(path)!r}: {error.strerror}.") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise ManifestError(f"{str(path)!r} is not a CSV file in UTF-8: {error}.") from error
    manifest = Manifest(path.parent, photos)
    check_manifest(manifest)
    return manifest


def check_manifest(manifest: Manifest) -> None:
    """Raise `ManifestError` at the first thing that would spoil a training or an evaluation."""
    if not manifest.photos:
        raise ManifestError("The manifest lists no photos.")
    split_of: dict[str, str] = {}
    seen: set[str] = set()
    for photo in manifest.photos:
        if photo.split not in SPLITS:
            raise ManifestError(f"{photo.path!r} is in the split {photo.split!r}; known are {', '.join(SPLITS)}.")
        if split_of.setdefault(photo.item, photo.split) != photo.split:
            raise ManifestError(f"The item {photo.item!r} is in two splits, {split_of[photo.item]} and {photo.split}.")
        if photo.path in seen:
            raise ManifestError(f"{photo.path!r} is listed twice.")
        seen.add(photo.path)
        if not manifest.file(photo).is_file():
            raise ManifestError(f"{photo.path!r} is listed, but there is no such file.")


def write_manifest(path: Path, photos: Sequence[Photo]) -> None:
    """Write a manifest as a whole or not at all . Raises `UnwritableError`."""
    extra = list(photos[0].more) if photos else []
    with written_whole(path) as file:
        text = io.TextIOWrapper(file, encoding="utf-8", newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow([*COLUMNS, *extra])
        for photo in photos:
            known = (photo.path, photo.label, photo.item, photo.split)
            writer.writerow([*known, *(photo.more[name] for name in extra)])
        text.flush()
        text.detach()


def data_hash(manifest: Manifest, photos: Iterable[Photo]) -> str:
    """Return the sha256 over names, labels, items, splits and bytes of `photos`, whatever their order and folder."""
    whole = hashlib.sha256()
    for photo in sorted(photos, key=lambda photo: Path(photo.path).name):
        whole.update("\x00".join((Path(photo.path).name, photo.label, photo.item, photo.split)).encode() + b"\n")
        whole.update(hashlib.sha256(manifest.file(photo).read_bytes()).digest())
    return whole.hexdigest()


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
