"""Write the data of a training run and read it back."""

import csv
import io
from pathlib import Path
from typing import Any

import pytest

from catalog.services.datasets.export import training_data_write
from tests.helpers.factories import make_run
from tests.helpers.garments import Garment, draw_garment

Rows = list[dict[str, str]]


def picture(seed: int) -> bytes:
    """JPEG bytes of a drawn dress; different for each seed."""
    buffer = io.BytesIO()
    draw_garment(Garment("Dress", seed)).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def read_rows(path: Path) -> Rows:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def write(tmp_path: Path) -> Any:
    """A function that writes the data of a run and returns its rows and counts."""

    def written(run: Any = None, folder: Path = tmp_path / "run") -> tuple[Rows, dict[str, Any]]:
        counts = training_data_write(run=run or make_run(), folder=folder)
        return read_rows(folder / "data.csv"), counts

    return written


def files(*photos: Any) -> set[str]:
    return {photo.file.path for photo in photos}


def paths(rows: Rows) -> set[str]:
    return {row["path"] for row in rows}
