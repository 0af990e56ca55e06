"""What the layouts share: reading their lists, finding their pictures, insisting on what was published."""

import csv
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from ml.formats.errors import InputError


class ConversionError(InputError):
    """The source is not laid out as the converter expects."""


def read_csv(path: Path, columns: Iterable[str]) -> list[Mapping[str, str]]:
    """The lines of a CSV file; `columns` must be filled in each of them. Raises `ConversionError`."""
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


def require_count(what: str, found: int, published: int, subset: bool) -> None:
    """Raise `ConversionError` where a copy that should be whole has not the published number of `what`."""
    if found != published and not subset:
        raise ConversionError(
            f"There are {found:,} {what}, published are {published:,}. Is the copy whole? --subset takes a part of it."
        )


def require_distinct(names: Iterable[str]) -> None:
    """Raise `ConversionError` naming the first that comes twice."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ConversionError(f"{name!r} is listed twice.")
        seen.add(name)


def require_file(folder: Path, name: str) -> Path:
    """The file `name` below `folder`; a name that leads out of it is refused. Raises `ConversionError`."""
    path = folder / name
    if Path(name).is_absolute() or ".." in Path(name).parts or not path.is_file():
        raise ConversionError(f"{name!r} is listed, but there is no such file in {str(folder)!r}.")
    return path


def relative_path(path: Path, start: Path) -> str:
    """`path` as a manifest in the folder `start` writes it."""
    return Path(os.path.relpath(path.absolute(), start.absolute())).as_posix()


def format_box(x_1: int, y_1: int, x_2: int, y_2: int) -> str:
    """Two opposite corners as the column `box`; "", the whole picture, where they span nothing."""
    left, right = sorted((x_1, x_2))
    top, bottom = sorted((y_1, y_2))
    return f"{left},{top},{right},{bottom}" if left < right and top < bottom else ""
