"""Snapshots of in-memory indexes: files that a worker loads at its start, shared by all workers of a machine.

A snapshot is a cache of database rows and is rebuilt when it is missing or damaged.
"""

import logging
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Final

from django.conf import settings

from catalog.models import Encoder
from ml.formats.file_lock import lock_file
from ml.search import EncoderMismatch, ExactIndex, IndexUnreadable
from ml.search.memory.snapshot import generation, load, save
from worker.index.sync import CatalogIndex

RETRY_SECONDS: Final = 60.0
"""Pause after a snapshot could not be written, for example to a full disk."""

_retry_at: dict[Path, float] = {}  # by folder: reading of time.monotonic

logger = logging.getLogger(__name__)


def snapshot_folder(encoder: Encoder) -> Path:
    """Return the folder of an encoder's snapshot: its id and its name, in INDEX_DIR."""
    return Path(settings.INDEX_DIR) / f"{encoder.pk}-{re.sub(r'[^A-Za-z0-9.-]', '_', encoder.name)}"


def load_index(encoder: Encoder, index_class: type[ExactIndex]) -> CatalogIndex:
    """Load the last snapshot of an index, which may be out of date; an empty index if it is missing or damaged."""
    folder, index = snapshot_folder(encoder), CatalogIndex(encoder, index_class(encoder.name, encoder.dim))
    saved = _generation(folder)
    if saved == "":
        return index
    try:
        index = CatalogIndex(encoder, load(folder, encoder.name, encoder.dim, index_class))
    except (IndexUnreadable, EncoderMismatch) as error:
        logger.warning("%s The index is rebuilt.", error)
    index.generation = saved or ""
    return index


def sync_snapshot(index: CatalogIndex) -> None:
    """Adopt a newer snapshot of another process, or compact the index and save it if enough rows have changed.

    One process of a machine at a time saves (file lock); the others load its files. A full disk is logged and retried
    after `RETRY_SECONDS`.
    """
    folder = snapshot_folder(index.encoder)
    _adopt_newer(index, folder)
    if not index.is_worth_saving or monotonic() < _retry_at.get(folder, 0.0):
        return
    try:
        with _exclusive(folder) as is_locked:
            if is_locked and not _adopt_newer(index, folder):
                index.index.compact()
                save(index.memory, folder)
    except OSError as error:
        _retry_at[folder] = monotonic() + RETRY_SECONDS
        logger.warning(
            "The index of %s stays in memory, because its snapshot cannot be written: %s", index.encoder, error
        )
    _adopt_newer(index, folder)  # also the snapshot saved above: memory mapped from a file is shared between processes


def remove_orphaned_folders() -> None:
    """Remove the snapshots of deleted encoders."""
    if not Path(settings.INDEX_DIR).is_dir():
        return
    expected = {snapshot_folder(encoder).name for encoder in Encoder.objects.only("name")}
    for folder in Path(settings.INDEX_DIR).iterdir():
        if re.match(r"\d+-", folder.name) and folder.name not in expected:
            shutil.rmtree(folder, ignore_errors=True)


def _adopt_newer(index: CatalogIndex, folder: Path) -> bool:
    """Replace the index by a newer snapshot; return whether there was one."""
    saved = _generation(folder)
    if not saved or saved == index.generation:
        return False
    try:
        index.adopt(load(folder, index.encoder.name, index.encoder.dim, type(index.memory)), saved)
    except (IndexUnreadable, EncoderMismatch) as error:  # perhaps replaced while it was loaded
        logger.warning("%s The index in memory stays in use.", error)
        if saved == _generation(folder):
            index.generation = saved  # damaged: not tried again
            return False
    return True


def _generation(folder: Path) -> str | None:
    """Return the generation of the snapshot; "" if there is none, None if it cannot be read."""
    try:
        return generation(folder)
    except IndexUnreadable:
        return None


@contextmanager
def _exclusive(folder: Path) -> Iterator[bool]:
    """Lock the folder of an index for the block; False if another process holds the lock."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = lock_file(folder / "lock")
    try:
        yield lock is not None
    finally:
        if lock is not None:
            lock.close()
