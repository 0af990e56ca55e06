"""A small shop's folder with pictures and tables, as the source of an import."""

import csv
import io
from pathlib import Path

from PIL import Image

from catalog.importing.importer import catalog_import
from catalog.models import ImportJob
from tests.helpers.pictures import encode_image


def picture(number: int = 0) -> bytes:
    """The bytes of a small JPEG; each number gives a different picture."""
    return encode_image(Image.new("RGB", (24, 32), (number * 40 % 256, number * 7 % 256, number % 256)), "JPEG")


class Shop:
    """A folder to import: add pictures and tables, then `run` the import."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True)

    def add(self, name: str, content: bytes | int = 0) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(content) if isinstance(content, int) else content)
        return path

    def table(self, rows: list[dict[str, str]], name: str = "items.csv") -> Path:
        """Write a CSV table with the columns of the first row."""
        buffer = io.StringIO()
        writer = csv.DictWriter(buffer, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
        return self.text(buffer.getvalue(), name)

    def text(self, content: str, name: str = "items.csv") -> Path:
        return self.add(name, content.encode())

    def run(self, layout: str | None = None) -> ImportJob:
        return catalog_import(source=self.root, layout=layout)
