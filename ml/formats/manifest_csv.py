"""Manifest CSV: a table in UTF-8 with the columns `path,label,item,split` and any others, one row per photo.

`path` starts at the folder of the manifest; `item` groups the photos of one garment; `split` is train, val or test.
This module reads and writes rows; `ml.data.manifest` interprets them. Standard library only.
"""

import csv
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from ml.formats.atomic_files import atomic_path
from ml.formats.errors import InputError

COLUMNS = ("path", "label", "item", "split")
SPLITS = ("train", "val", "test")

Row = dict[str, str]


class ManifestError(InputError):
    """The manifest cannot be used; the message names the line."""

    code = "manifest_invalid"


def _reject(error: ManifestError) -> NoReturn:
    raise error


def read_rows(path: Path, on_bad_line: Callable[[ManifestError], object] = _reject) -> Iterator[Row]:
    """Yield the rows of a manifest, each with a value for every column and none of `COLUMNS` empty.

    A line that breaks this is passed to `on_bad_line`, which raises by default; if it returns, the line is skipped.
    Raises `ManifestError` if there is no such file, or no table with these columns in it.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, strict=True)
            _require_columns(path, reader.fieldnames or ())
            for row in reader:
                try:
                    yield _checked(row, reader.line_num)
                except ManifestError as error:
                    on_bad_line(error)
    except OSError as error:
        text = f"Cannot read the manifest {str(path)!r}: {error.strerror}."
        raise ManifestError(text, code="manifest_unreadable") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise ManifestError(f"{str(path)!r} is not a CSV file in UTF-8: {error}.", code="manifest_not_csv") from error


def write_rows(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, str]]) -> None:
    """Write a manifest atomically. Every row needs every one of `columns`.

    Raises `KeyError` for a row without a column, and `OSError`; in both cases `path` is unchanged.
    """
    with atomic_path(path, fsync=True) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([row[name] for name in columns] for row in rows)


def _require_columns(path: Path, columns: Sequence[str]) -> None:
    missing = [name for name in COLUMNS if name not in columns]
    if missing:
        text = f"{str(path)!r} has no column {', '.join(missing)}; needed are {', '.join(COLUMNS)}."
        raise ManifestError(text, code="column_missing")


def _checked(row: Mapping[str | None, str | None], line: int) -> Row:
    if None in row or None in row.values():
        text = f"Line {line} of the manifest has more or fewer fields than the heading."
        raise ManifestError(text, code="line_malformed")
    values = {str(name): str(value) for name, value in row.items()}
    if empty := [name for name in COLUMNS if not values[name].strip()]:
        raise ManifestError(f"Line {line} of the manifest has an empty {', '.join(empty)}.", code="value_empty")
    return values
