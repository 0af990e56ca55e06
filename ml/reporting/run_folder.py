"""The folder of a training run and its `metrics.jsonl`: one JSON object per epoch, readable while the run writes."""

import json
import math
from collections.abc import Mapping
from numbers import Integral, Real
from pathlib import Path

from ml.formats.atomic_files import UnwritableError, atomic_write
from ml.formats.errors import InputError

METRICS_FILE = "metrics.jsonl"

Row = Mapping[str, float | int | str]


class RunFolderDamaged(InputError):
    """A complete line of `metrics.jsonl` is not a JSON object. (A truncated last line is ignored.)"""

    code = "run_folder_damaged"


class RunFolder:
    """The folder of a run, created if missing. Raises `UnwritableError` if that fails.

    Only lines that end with a line break count: a truncated line of a killed process is ignored, and removed before the
    next line is written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UnwritableError(f"Cannot make the run folder {str(path)!r}: {error.strerror or error}.") from error

    @property
    def metrics(self) -> Path:
        """The path of `metrics.jsonl`."""
        return self.path / METRICS_FILE

    def append(self, row: Row) -> None:
        """Append one row and flush it, so that it survives the death of this process.

        NaN and infinity become null, because JSON lacks them. Raises `UnwritableError`.
        """
        line = _format_row(row)
        try:
            with self.metrics.open("ab") as file:
                file.truncate(len(self._whole_lines()))
                file.write(line)
        except OSError as error:
            raise UnwritableError(f"Cannot write {str(self.metrics)!r}: {error.strerror or error}.") from error

    def rows(self) -> list[dict[str, float | int | str]]:
        """Return all rows, with NaN for null; an empty list before the first epoch. Raises `RunFolderDamaged`."""
        lines = self._whole_lines().splitlines()
        return [self._parse_row(number, line) for number, line in enumerate(lines, start=1)]

    def keep_until(self, epoch: int) -> None:
        """Remove the rows of later epochs, which a run resumed after `epoch` writes again.

        Raises `RunFolderDamaged` or `UnwritableError`.
        """
        rows = [row for row in self.rows() if int(row.get("epoch", 0)) <= epoch]
        with atomic_write(self.metrics) as file:
            file.writelines(map(_format_row, rows))

    def _whole_lines(self) -> bytes:
        content = self.metrics.read_bytes() if self.metrics.exists() else b""
        return content[: content.rfind(b"\n") + 1]

    def _parse_row(self, number: int, line: bytes) -> dict[str, float | int | str]:
        try:
            row = json.loads(line)
            return {name: math.nan if value is None else value for name, value in row.items()}
        except (ValueError, AttributeError) as error:
            raise RunFolderDamaged(f"Line {number} of {str(self.metrics)!r} is not a JSON object.") from error


def _format_row(row: Row) -> bytes:
    values = {name: _finite_or_none(value) for name, value in row.items()}
    return json.dumps(values, ensure_ascii=False, allow_nan=False).encode() + b"\n"


def _finite_or_none(value: object) -> object:
    """Return what JSON can hold; NumPy's numbers become Python's."""
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        return float(value) if math.isfinite(value) else None
    return value
