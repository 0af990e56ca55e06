"""Manifests below `TRAINING_DATA_DIR`: list, read, check and write them."""

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
    """The manifests below `TRAINING_DATA_DIR`, as relative paths."""
    folder = Path(settings.TRAINING_DATA_DIR)
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.csv") if path.is_file())


def manifest_path(name: str) -> Path:
    """The path of a manifest below `TRAINING_DATA_DIR`.

    Raises `Refused`: `manifest_unknown` when there is no such file, or it is outside the folder.
    """
    folder = Path(settings.TRAINING_DATA_DIR).resolve()
    try:
        path = (folder / name).resolve()
        exists = path.is_relative_to(folder) and path.suffix == ".csv" and path.is_file()
    except (OSError, ValueError, RuntimeError):  # an impossible file name, or a loop of symbolic links
        exists = False
    if not exists:
        raise Refused("manifest_unknown", "There is no such manifest in the folder for training data.")
    return path


def manifest_rows(path: Path) -> Iterator[Row]:
    """Read the rows of a manifest, with absolute paths.

    Raises `Refused`: `manifest_unreadable` for a file that is not a manifest, when its bad row is reached.
    """
    try:
        for row in read_rows(path):
            yield row | {"path": os.path.normpath(path.parent / row["path"])}
    except ManifestError as error:
        reason = str(error).replace(str(path), path.name).rstrip(".")
        raise Refused("manifest_unreadable", _("The manifest cannot be read: {why}.").format(why=reason)) from error


def manifest_check(path: Path) -> None:
    """Check a manifest as training does: items in two splits, missing files and so on.

    Raises `Refused`: `manifest_unfit`, with up to three errors.
    """
    try:
        result = run_ml("check-data", "--quick", "--show", "1", "--data", str(path), seconds=CHECK_SECONDS)
    except MlTimeout:
        raise Refused("manifest_unfit", "Checking this manifest took too long; it is larger than we take.") from None
    errors = list(_errors(result.stdout))
    if not errors and "errors" not in result.stderr and result.exit_code:  # the file could not be read as a manifest
        errors = [result.error_line]
    if errors:
        raise Refused("manifest_unfit", " ".join(errors[:3]).replace(str(path), path.name))


def _errors(report: str) -> Iterator[str]:
    """The first line of each kind of error, except for labels without train photos, which training leaves out."""
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
