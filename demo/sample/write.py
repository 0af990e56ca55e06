"""Writer of the sample catalogue: photos as JPEG and a CSV that lists them."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from demo.sample.items import SampleItem, sample_items
from demo.sample.scene import draw_photo
from ml.formats.atomic_files import atomic_path

VIEWS = 2
QUALITY = 90
COLUMNS = ("item", "image", "name", "category", "brand", "gender", "colour", "price", "currency")
BATCH = 8  # photos per task of a process

Progress = Callable[[int, int], None]  # photos present, total


def write_sample(folder: Path, count: int = 600, *, progress: Progress | None = None) -> Path:
    """Write `items.csv` and `images/` and return the path of the CSV.

    The CSV is written last, so its presence means that every photo it lists exists. Photos of an interrupted call
    are reused; if none is missing, none is drawn.
    """
    items = sample_items(count)
    table = _table(items)
    path = folder / "items.csv"
    if path.is_file() and path.read_bytes() == table and not _missing(folder, items):
        return path
    path.unlink(missing_ok=True)
    (folder / "images").mkdir(parents=True, exist_ok=True)
    _draw_missing(folder, items, progress)
    _write_atomically(path, table)
    return path


def _draw_missing(folder: Path, items: list[SampleItem], progress: Progress | None) -> None:
    """Draw the missing photos in processes: drawing holds the GIL, so threads would not help."""
    missing = _missing(folder, items)
    total, done = len(items) * VIEWS, len(items) * VIEWS - len(missing)
    for written in _write_batches(folder, missing):
        done += written
        if progress:
            progress(done, total)


def _write_batches(folder: Path, missing: list[tuple[SampleItem, int]]) -> Iterator[int]:
    """Write the photos in batches and yield the size of each; a few are drawn without starting processes."""
    batches = [missing[start : start + BATCH] for start in range(0, len(missing), BATCH)]
    if len(batches) <= 4:
        yield from (write_photos(folder, batch) for batch in batches)
        return
    # Fresh interpreters rather than forks: the caller may be a server with threads.
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        yield from pool.map(write_photos, [folder] * len(batches), batches)


def write_photos(folder: Path, photos: list[tuple[SampleItem, int]]) -> int:
    """Draw and write photos given as (item, view); return their number."""
    for item, view in photos:
        buffer = io.BytesIO()
        draw_photo(item, view).save(buffer, "JPEG", quality=QUALITY)
        _write_atomically(folder / image_name(item, view), buffer.getvalue())
    return len(photos)


def image_name(item: SampleItem, view: int) -> str:
    """Return the path of the photo relative to the CSV."""
    return f"images/{item.external_id}-{view}.jpg"


def _missing(folder: Path, items: list[SampleItem]) -> list[tuple[SampleItem, int]]:
    images = folder / "images"
    present = {path.name for path in images.iterdir()} if images.is_dir() else set()
    photos = ((item, view) for item in items for view in range(VIEWS))
    return [photo for photo in photos if Path(image_name(*photo)).name not in present]


def _table(items: list[SampleItem]) -> bytes:
    """Return the CSV: one row for each photo, one column for each attribute of any item."""
    attributes = sorted({name for item in items for name in item.attributes})
    text = io.StringIO()
    rows = csv.DictWriter(text, [*COLUMNS, *attributes], lineterminator="\n")
    rows.writeheader()
    for item in items:
        fields = {name: getattr(item, name) for name in COLUMNS[2:]}
        for view in range(VIEWS):
            rows.writerow({"item": item.external_id, "image": image_name(item, view), **fields, **item.attributes})
    return text.getvalue().encode()


def _write_atomically(path: Path, content: bytes) -> None:
    with atomic_path(path) as part:
        part.write_bytes(content)
