"""Manifests: the tables of photos that a training reads, and those that staff bring along."""

import csv
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from django.conf import settings
from django.utils.translation import gettext as _

from catalog.errors import Refused
from catalog.ml_cli import MlTimeout, run_ml

COLUMNS: Final = ("path", "label", "item", "split")
CHECK_SECONDS: Final = 120
NOT_LEARNED: Final = "labels without a train photo"

Row = dict[str, str]


def manifest_names() -> list[str]:
    """The tables below the folder for training data, as a run names them."""
    folder = Path(settings.TRAINING_DATA_DIR)
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.csv") if path.is_file())


def manifest_path(name: str) -> Path:
    """The table of this name, below the folder for training data. Refused for what is not there, or not below it."""
    folder = Path(settings.TRAINING_DATA_DIR).resolve()
    try:
        path = (folder / name).resolve()
        found = path.is_relative_to(folder) and path.suffix == ".csv" and path.is_file()
    except (OSError, ValueError, RuntimeError):  # a name that no file can have, or links in a ring
        found = False
    if not found:
        raise Refused("manifest_unknown", "There is no such manifest in the folder for training data.")
    return path


def manifest_rows(path: Path) -> Iterator[Row]:
    """The rows of a table, each with all its columns and the path of its photo made absolute.

    Refused (`manifest_unreadable`) for what is not a table with the columns that are needed.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, strict=True)
            missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
            if missing:
                raise _unreadable(f"it has no column {', '.join(missing)}")
            for row in reader:
                yield _row(path.parent, row, reader.line_num)
    except OSError as error:
        raise _unreadable(error.strerror or str(error)) from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise _unreadable(str(error)) from error


def manifest_check(path: Path) -> None:
    """Refused for a table that no training could read: an item in two splits, a missing file and so on."""
    try:
        answer = run_ml("check-data", "--quick", "--show", "1", "--data", str(path), seconds=CHECK_SECONDS)
    except MlTimeout:
        raise Refused("manifest_unfit", "Checking this manifest took too long; it is larger than we take.") from None
    wrong = list(_errors(answer.output))
    if not wrong and "errors" not in answer.errors and answer.code:  # there is no table at all
        wrong = [answer.complaint]
    if wrong:
        told = " ".join(wrong[:3]).replace(str(path), path.name)
        raise Refused("manifest_unfit", told)


def _errors(report: str) -> Iterator[str]:
    """The first sentence of each kind of error. Labels that are only looked at are left out by the training."""
    kind = ""
    for line in report.splitlines():
        if not line.startswith(" "):
            kind = line
        elif kind.startswith("error: ") and NOT_LEARNED not in kind:
            yield line.strip()
            kind = ""


def manifest_write(path: Path, rows: Sequence[Mapping[str, str]]) -> None:
    """Write a table as a whole or not at all, with every column that any row has."""
    names = list(dict.fromkeys((*COLUMNS, *(name for row in rows for name in row))))
    written_whole(path, _lines(names, rows))


def written_whole(path: Path, lines: Iterable[str]) -> None:
    """Write a text so that the file is never there by half. OSError if it cannot be."""
    part = path.with_name(path.name + ".part")
    with part.open("w", newline="", encoding="utf-8") as file:
        file.writelines(lines)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


class _Echo:
    """What csv's writer writes to: hands the line back."""

    def write(self, line: str) -> str:
        return line


def _lines(names: Sequence[str], rows: Iterable[Mapping[str, str]]) -> Iterator[str]:
    writer = csv.writer(_Echo(), lineterminator="\n")
    yield writer.writerow(names)
    for row in rows:
        yield writer.writerow([row.get(name, "") for name in names])


def _row(folder: Path, row: Mapping[str | None, str | None], line: int) -> Row:
    if None in row or None in row.values():
        raise _unreadable(f"line {line} has more or fewer fields than the heading")
    texts = {str(name): str(text) for name, text in row.items()}
    return texts | {"path": os.path.normpath(folder / texts["path"])}


def _unreadable(why: str) -> Refused:
    return Refused("manifest_unreadable", _("The manifest cannot be read: {why}.").format(why=why))
