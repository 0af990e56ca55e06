"""Indexes in memory, kept in files for the next start and shared by the processes of a machine: caches of the rows."""

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

PAUSE: Final = 60.0
"""Seconds for which nothing is saved after it did not work, such as for a full disk."""

_not_before: dict[Path, float] = {}

logger = logging.getLogger(__name__)


def folder_of(encoder: Encoder) -> Path:
    return Path(settings.INDEX_DIR) / f"{encoder.pk}-{re.sub(r'[^A-Za-z0-9.-]', '_', encoder.name)}"


def opened(encoder: Encoder, kind: type[ExactIndex]) -> CatalogIndex:
    """The index as it was last saved, to be brought up to date; an empty one where that cannot be read."""
    folder, index = folder_of(encoder), CatalogIndex(encoder, kind(encoder.name, encoder.dim))
    found = _generation(folder)
    if found == "":
        return index
    try:
        index = CatalogIndex(encoder, load(folder, encoder.name, encoder.dim, kind))
    except (IndexUnreadable, EncoderMismatch) as error:
        logger.warning("%s It is made anew.", error)
    index.generation = found or ""
    return index


def keep(index: CatalogIndex) -> None:
    """Tidy up an index and save it, if that is worth it, or go on with what another process has saved.

    One process of a machine at a time does so; the others have nothing to do but to read the files.
    """
    folder = folder_of(index.encoder)
    _adopt_newer(index, folder)
    if not index.is_worth_saving or monotonic() < _not_before.get(folder, 0.0):
        return
    try:
        with _exclusive(folder) as is_locked:
            if is_locked and not _adopt_newer(index, folder):
                index.index.compact()
                save(index.memory, folder)
    except OSError as error:
        _not_before[folder] = monotonic() + PAUSE
        logger.warning("The index of %s stays in memory, since it cannot be saved: %s", index.encoder, error)
    _adopt_newer(index, folder)  # what was just saved, too: memory that is read from a file is shared


def remove_folders_of_the_gone() -> None:
    """Remove the folders of encoders that do not exist any more."""
    if not Path(settings.INDEX_DIR).is_dir():
        return
    known = {folder_of(encoder).name for encoder in Encoder.objects.only("name")}
    for folder in Path(settings.INDEX_DIR).iterdir():
        if re.match(r"\d+-", folder.name) and folder.name not in known:
            shutil.rmtree(folder, ignore_errors=True)


def _adopt_newer(index: CatalogIndex, folder: Path) -> bool:
    """Whether there was something newer."""
    found = _generation(folder)
    if not found or found == index.generation:
        return False
    try:
        index.adopt(load(folder, index.encoder.name, index.encoder.dim, type(index.memory)), found)
    except (IndexUnreadable, EncoderMismatch) as error:  # perhaps replaced while it was read
        logger.warning("%s The index goes on in memory.", error)
        if found == _generation(folder):
            index.generation = found  # not tried again
            return False
    return True


def _generation(folder: Path) -> str | None:
    """That of the files; "" where there are none, None where they cannot be read."""
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
