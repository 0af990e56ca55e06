"""From the layouts that photo collections come in to a manifest. Each converter checks what its source promises."""

import csv
import hashlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from ml.errors import InputError
from ml.manifest import Photo
from ml.pictures import find_pictures

CLOTHING_SPLITS = frozenset({"train", "val", "test"})
MAX_MISSING_SHARE = 0.01
"""Of the fashion products a handful are known to lack their picture; more than this means a broken download."""


class ConversionError(InputError):
    """The source is not laid out as the converter expects."""


def clothing_dataset(source: Path, manifest_folder: Path) -> list[Photo]:
    """`labels.csv` (image,label,group,contributor,kids,split) beside `images/`: each photo shows a garment of its own.

    The split by contributor is kept, and it is checked that no contributor is on two sides. Paths are made relative to
    `manifest_folder`. Raises `ConversionError`.
    """
    rows = _read_table(source / "labels.csv", ("image", "label", "group", "contributor", "kids", "split"))
    split_of: dict[str, str] = {}
    for row in rows:
        if row["split"] not in CLOTHING_SPLITS:
            raise ConversionError(f"{row['image']!r} is in an unknown split {row['split']!r}.")
        if split_of.setdefault(row["contributor"], row["split"]) != row["split"]:
            raise ConversionError(f"Contributor {row['contributor']!r} is in two splits.")
    _require_distinct([row["image"] for row in rows])
    return [
        Photo(
            path=_relative(_existing(source / "images", row["image"]), manifest_folder),
            label=row["label"],
            item=Path(row["image"]).stem,
            split=row["split"],
            more={name: row[name] for name in ("group", "contributor", "kids")},
        )
        for row in rows
    ]


def fashion_products(source: Path, manifest_folder: Path) -> list[Photo]:
    """`styles.csv` (id,gender,masterCategory,…) beside `images/<id>.jpg`: one photo per product, label = articleType.

    The source has no split, so one is drawn from the hash of the id. Products without a picture are left out, up to
    one in a hundred. Raises `ConversionError`.
    """
    more = ("gender", "masterCategory", "subCategory", "baseColour")
    rows = _read_table(source / "styles.csv", ("id", "articleType", *more))
    _require_distinct([row["id"] for row in rows])
    kept = [row for row in rows if (source / "images" / f"{row['id']}.jpg").is_file()]
    if len(rows) - len(kept) > MAX_MISSING_SHARE * len(rows):
        raise ConversionError(f"{len(rows) - len(kept)} of {len(rows)} products have no picture in images/.")
    return [
        Photo(
            path=_relative(source / "images" / f"{row['id']}.jpg", manifest_folder),
            label=row["articleType"],
            item=row["id"],
            split=drawn_split(row["id"]),
            more={name: row[name] for name in more},
        )
        for row in kept
    ]


def folder(source: Path, manifest_folder: Path) -> list[Photo]:
    """A folder of folders: the first folder below `source` is the label, each picture an item of its own.

    Raises `ConversionError`.
    """
    photos = []
    for path in find_pictures(source):
        inside = path.relative_to(source)
        if len(inside.parts) < 2:
            raise ConversionError(f"{inside.name!r} lies in no folder of its own label.")
        item = inside.with_suffix("").as_posix()
        photos.append(Photo(_relative(path, manifest_folder), inside.parts[0], item, drawn_split(item)))
    return photos


def drawn_split(item: str) -> str:
    """Return "train" for 80 %, "val" for 10 % and "test" for 10 % of all items, always the same for the same item."""
    draw = int(hashlib.sha256(item.encode()).hexdigest(), 16) % 10
    return "train" if draw < 8 else "val" if draw == 8 else "test"


def _read_table(path: Path, columns: Iterable[str]) -> list[Mapping[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows: list[Mapping[str, str]] = [
                {key: value for key, value in row.items() if key} for row in csv.DictReader(file)
            ]
    except OSError as error:
        raise ConversionError(f"Cannot read {str(path)!r}: {error.strerror}.") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise ConversionError(f"{str(path)!r} is not a CSV file in UTF-8: {error}.") from error
    if not rows:
        raise ConversionError(f"{str(path)!r} lists nothing.")
    for name in columns:
        if any(not row.get(name) for row in rows):
            raise ConversionError(f"{str(path)!r} has no column {name!r}, or it is empty in a line.")
    return rows


def _require_distinct(names: list[str]) -> None:
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ConversionError(f"{twice!r} is listed twice.")


def _existing(images: Path, name: str) -> Path:
    path = images / name
    if Path(name).name != name or not path.is_file():
        raise ConversionError(f"{name!r} is listed, but there is no such file in {str(images)!r}.")
    return path


def _relative(path: Path, start: Path) -> str:
    return Path(os.path.relpath(path.absolute(), start.absolute())).as_posix()
