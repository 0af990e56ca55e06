"""Small shops on disk for the import's tests."""

import csv
import io
from pathlib import Path

import pytest
from PIL import Image

from catalog.importing.importer import catalog_import
from catalog.models import ImportJob
from tests.helpers.pictures import stored


def picture(number: int = 0) -> bytes:
    """The bytes of a small JPEG, another one for each number."""
    return stored(Image.new("RGB", (24, 32), (number * 40 % 256, number * 7 % 256, number % 256)), "JPEG")


class Shop:
    """A folder that is going to be imported."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True)

    def add(self, name: str, content: bytes | int = 0) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(content) if isinstance(content, int) else content)
        return path

    def table(self, rows: list[dict[str, str]], name: str = "items.csv") -> Path:
        """A table with the columns of the first row."""
        buffer = io.StringIO()
        writer = csv.DictWriter(buffer, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
        return self.text(buffer.getvalue(), name)

    def text(self, content: str, name: str = "items.csv") -> Path:
        return self.add(name, content.encode())

    def run(self, layout: str | None = None) -> ImportJob:
        return catalog_import(source=self.root, layout=layout)


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path / "shop")
