"""Reader of the text lists of the DeepFashion benchmarks (Liu et al., CVPR 2016).

First line: the number of rows. Second line: the names of the columns. Then one row per line, with fields separated by
spaces. Rows of landmarks may be shorter than the heading: lower garments have fewer landmarks.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from ml.data.layouts.source_files import ConversionError, format_box, require_file

GROUPS = {"1": "upper", "2": "lower", "3": "full"}
"""The clothes types of the lists."""

BOX_COLUMNS = ("x_1", "y_1", "x_2", "y_2")

Row = Mapping[str, str]


def read_list(path: Path, columns: Sequence[str], subset: bool = False) -> list[Row]:
    """Return `columns` of a list. Raises `ConversionError`, also for missing rows unless `subset` is true."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise ConversionError(f"Cannot read {str(path)!r}: {error.strerror}.", code="file_unreadable") from error
    except UnicodeDecodeError as error:
        raise ConversionError(f"{str(path)!r} is not a text in UTF-8: {error}.", code="file_unreadable") from error
    if len(lines) < 3 or not lines[0].strip().isdecimal():
        text = f"{str(path)!r} does not begin with a number of rows, a heading and a row."
        raise ConversionError(text, code="list_malformed")
    heading = lines[1].split()
    if missing := [name for name in columns if name not in heading]:
        raise ConversionError(f"{str(path)!r} has no column {', '.join(missing)}.", code="column_missing")
    positions = [heading.index(name) for name in columns]
    rows: list[Row] = []
    for number, line in enumerate(lines[2:], start=3):
        if fields := line.split():
            if len(fields) <= max(positions):
                raise ConversionError(f"Line {number} of {str(path)!r} has too few fields.", code="list_malformed")
            rows.append({name: fields[position] for name, position in zip(columns, positions, strict=True)})
    if len(rows) != int(lines[0]) and not subset:
        text = f"{str(path)!r} declares {int(lines[0]):,} rows and has {len(rows):,}; download the file again."
        raise ConversionError(text, code="count_mismatch")
    return rows


def find_list(source: Path, folder: str, name: str) -> Path:
    """Return `source`/`folder`/`name`, or `source`/`name` as in older releases."""
    path = source / folder / name
    return path if path.is_file() or not (source / name).is_file() else source / name


def index_by_picture(rows: Sequence[Row]) -> dict[str, Row]:
    """Return the rows by their `image_name`."""
    return {row["image_name"]: row for row in rows}


def require_row(rows: Mapping[str, Row], picture: str, noun: str) -> Row:
    """Return the row of one picture. Raises `ConversionError` for a missing row, called `noun`."""
    if picture not in rows:
        raise ConversionError(f"{picture!r} has no {noun}.", code="row_missing")
    return rows[picture]


def find_picture(source: Path, name: str) -> Path:
    """Return the path of the picture "img/…" of a list, in `source` or in `source`/Img: releases differ."""
    folder = source if (source / name).is_file() or not (source / "Img" / name).is_file() else source / "Img"
    return require_file(folder, name)


def parse_group(row: Row) -> str:
    """Return "upper", "lower" or "full". Raises `ConversionError`."""
    if row["clothes_type"] not in GROUPS:
        text = f"{row['image_name']!r} has the unknown clothes type {row['clothes_type']!r}."
        raise ConversionError(text, code="clothes_type_unknown")
    return GROUPS[row["clothes_type"]]


def parse_box(row: Row) -> str:
    """Return the value for the column `box` of a manifest. Raises `ConversionError`."""
    try:
        return format_box(*(int(row[name]) for name in BOX_COLUMNS))
    except ValueError as error:
        text = f"{row['image_name']!r} has a box that is not four numbers."
        raise ConversionError(text, code="box_malformed") from error


def read_garments(path: Path, subset: bool = False) -> dict[str, Row]:
    """Return `group` and `box` of each picture in a list of boxes; an empty dict if there is no list."""
    if not path.is_file():
        return {}
    rows = read_list(path, ("image_name", "clothes_type", *BOX_COLUMNS), subset)
    return {row["image_name"]: {"group": parse_group(row), "box": parse_box(row)} for row in rows}


def find_garment(garments: Mapping[str, Row], picture: str) -> Row:
    """Return `group` and `box` of one picture, "" without a list. Raises `ConversionError` if the list lacks it."""
    return require_row(garments, picture, "box") if garments else {"group": "", "box": ""}


def require_one_split(name: str, split: str, split_of: dict[str, str]) -> None:
    """Record the split of an item in `split_of`. Raises `ConversionError` if it has another split there."""
    if split_of.setdefault(name, split) != split:
        text = f"The item {name!r} is in two splits, {split_of[name]} and {split}."
        raise ConversionError(text, code="splits_overlap")
