"""Source files of photo collections: read CSV tables, resolve paths, require published counts."""

import csv
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from ml.formats.errors import InputError


class ConversionError(InputError):
    """The source does not have the layout that the converter expects."""

    code = "layout_unexpected"


def read_csv(path: Path, columns: Iterable[str]) -> list[Mapping[str, str]]:
    """Read a CSV file whose `columns` have a value in every row. Raises `ConversionError`."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows: list[Mapping[str, str]] = [
                {key: value for key, value in row.items() if key} for row in csv.DictReader(file)
            ]
    except OSError as error:
        raise ConversionError(f"Cannot read {str(path)!r}: {error.strerror}.", code="file_unreadable") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise ConversionError(f"{str(path)!r} is not a CSV file in UTF-8: {error}.", code="file_unreadable") from error
    if not rows:
        raise ConversionError(f"{str(path)!r} has no rows.", code="nothing_listed")
    for name in columns:
        if any(not row.get(name) for row in rows):
            text = f"{str(path)!r} has no column {name!r}, or a row without a value in it."
            raise ConversionError(text, code="column_missing")
    return rows


def require_count(noun: str, count: int, published: int, subset: bool) -> None:
    """Raise `ConversionError` if `count`, the number of `noun`, is not `published`; accept any count of a `subset`."""
    if count != published and not subset:
        text = f"There are {count:,} {noun} instead of {published:,}. Use --subset for a part of the collection."
        raise ConversionError(text, code="count_mismatch")


def require_distinct(names: Iterable[str]) -> None:
    """Raise `ConversionError` that names the first repeated name."""
    earlier: set[str] = set()
    for name in names:
        if name in earlier:
            raise ConversionError(f"{name!r} is listed twice.", code="listed_twice")
        earlier.add(name)


def require_file(folder: Path, name: str) -> Path:
    """Return the path of the file `name` below `folder`. Raises `ConversionError`, also for a name outside it."""
    path = folder / name
    if Path(name).is_absolute() or ".." in Path(name).parts or not path.is_file():
        text = f"{name!r} is listed, but there is no such file in {str(folder)!r}."
        raise ConversionError(text, code="file_missing")
    return path


def relative_path(path: Path, start: Path) -> str:
    """Return `path` relative to the manifest folder `start`, with forward slashes."""
    return Path(os.path.relpath(path.absolute(), start.absolute())).as_posix()


def format_box(x_1: int, y_1: int, x_2: int, y_2: int) -> str:
    """Return the value for the column `box` from two opposite corners; "" (the whole picture) for an empty box."""
    left, right = sorted((x_1, x_2))
    top, bottom = sorted((y_1, y_2))
    return f"{left},{top},{right},{bottom}" if left < right and top < bottom else ""
