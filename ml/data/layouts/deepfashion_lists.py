"""The text lists of the DeepFashion benchmarks (Liu et al., CVPR 2016): how they are found and read.

First line: how many rows follow. Second line: the names of the columns. Then one row a line, its fields separated by
any number of blanks. Rows of landmarks may be shorter than the heading, since lower garments have fewer of them.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from ml.data.layouts.source_files import ConversionError, format_box, require_file

GROUPS = {"1": "upper", "2": "lower", "3": "full"}
"""What the lists call clothes type."""

BOX_COLUMNS = ("x_1", "y_1", "x_2", "y_2")

Row = Mapping[str, str]


def read_list(path: Path, columns: Sequence[str], subset: bool = False) -> list[Row]:
    """The rows of one list, reduced to `columns`. Raises `ConversionError`, also where rows are missing at the end."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise ConversionError(f"Cannot read {str(path)!r}: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise ConversionError(f"{str(path)!r} is not a text in UTF-8: {error}.") from error
    if len(lines) < 3 or not lines[0].strip().isdecimal():
        raise ConversionError(f"{str(path)!r} does not begin with a number of rows, a heading and a row.")
    heading = lines[1].split()
    if missing := [name for name in columns if name not in heading]:
        raise ConversionError(f"{str(path)!r} has no column {', '.join(missing)}.")
    places = [heading.index(name) for name in columns]
    rows: list[Row] = []
    for number, line in enumerate(lines[2:], start=3):
        if fields := line.split():
            if len(fields) <= max(places):
                raise ConversionError(f"Line {number} of {str(path)!r} has too few fields.")
            rows.append({name: fields[place] for name, place in zip(columns, places, strict=True)})
    if len(rows) != int(lines[0]) and not subset:
        raise ConversionError(f"{str(path)!r} announces {int(lines[0]):,} rows and has {len(rows):,}.")
    return rows


def find_list(source: Path, folder: str, name: str) -> Path:
    """`source`/`folder`/`name`, or `source`/`name`, where older releases keep it."""
    path = source / folder / name
    return path if path.is_file() or not (source / name).is_file() else source / name


def index_by_picture(rows: Sequence[Row]) -> dict[str, Row]:
    """The rows by their `image_name`."""
    return {row["image_name"]: row for row in rows}


def require_row(rows: Mapping[str, Row], picture: str, what: str) -> Row:
    """The row of one picture. Raises `ConversionError` naming the picture and `what` it lacks."""
    if picture not in rows:
        raise ConversionError(f"{picture!r} has no {what}.")
    return rows[picture]


def find_picture(source: Path, name: str) -> Path:
    """Where the picture "img/…" of a list lies: releases unpack to `source` or to `source`/Img."""
    folder = source if (source / name).is_file() or not (source / "Img" / name).is_file() else source / "Img"
    return require_file(folder, name)


def parse_group(row: Row) -> str:
    """upper, lower or full. Raises `ConversionError`."""
    if row["clothes_type"] not in GROUPS:
        raise ConversionError(f"{row['image_name']!r} has the unknown clothes type {row['clothes_type']!r}.")
    return GROUPS[row["clothes_type"]]


def parse_box(row: Row) -> str:
    """The column `box` of a manifest. Raises `ConversionError`."""
    try:
        return format_box(*(int(row[name]) for name in BOX_COLUMNS))
    except ValueError as error:
        raise ConversionError(f"{row['image_name']!r} has a box that is no four numbers.") from error


def read_garments(path: Path, subset: bool = False) -> dict[str, Row]:
    """`group` and `box` of each picture in a list of boxes; nothing where there is no such list."""
    if not path.is_file():
        return {}
    rows = read_list(path, ("image_name", "clothes_type", *BOX_COLUMNS), subset)
    return {row["image_name"]: {"group": parse_group(row), "box": parse_box(row)} for row in rows}


def find_garment(garments: Mapping[str, Row], picture: str) -> Row:
    """`group` and `box` of one picture, both empty without a list. Raises `ConversionError` for one that it lacks."""
    return require_row(garments, picture, "box") if garments else {"group": "", "box": ""}


def require_one_split(name: str, split: str, split_of: dict[str, str]) -> None:
    """Remember the split of an item. Raises `ConversionError` where it was another one before."""
    if split_of.setdefault(name, split) != split:
        raise ConversionError(f"The item {name!r} is in two splits, {split_of[name]} and {split}.")
