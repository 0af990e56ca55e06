"""Manifests: the tables of photos that a training reads, and those that staff bring along."""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from django.conf import settings
from django.utils.translation import gettext as _

from catalog.errors import Refused
from catalog.ml_cli import MlTimeout, run_ml
from ml.formats.manifest_csv import COLUMNS, ManifestError, Row, read_rows, write_rows

CHECK_SECONDS: Final = 120
NOT_LEARNED: Final = "labels without a train photo"


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

    Refused (`manifest_unreadable`) for a file that is no manifest.
    """
    try:
        for row in read_rows(path):
            yield row | {"path": os.path.normpath(path.parent / row["path"])}
    except ManifestError as error:
        reason = str(error).replace(str(path), path.name).rstrip(".")
        raise Refused("manifest_unreadable", _("The manifest cannot be read: {why}.").format(why=reason)) from error


def manifest_check(path: Path) -> None:
    """Refused for a table that no training could read: an item in two splits, a missing file and so on."""
    try:
        result = run_ml("check-data", "--quick", "--show", "1", "--data", str(path), seconds=CHECK_SECONDS)
    except MlTimeout:
        raise Refused("manifest_unfit", "Checking this manifest took too long; it is larger than we take.") from None
    wrong = list(_errors(result.stdout))
    if not wrong and "errors" not in result.stderr and result.exit_code:  # there is no table at all
        wrong = [result.error_line]
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
    """Write a manifest atomically, with every column that any row has; a row without it has "" there.

    Raises `OSError`.
    """
    columns = list(dict.fromkeys((*COLUMNS, *(name for row in rows for name in row))))
    write_rows(path, columns, ({name: row.get(name, "") for name in columns} for row in rows))
