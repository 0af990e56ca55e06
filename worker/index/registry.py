"""Registry of the open indexes of this process: one per encoder, of the site's live search backend."""

import logging
from threading import Lock
from typing import Final

from catalog.models import SHARED, Backend, Embedding, Encoder, SearchChoice, SharedIndex
from ml.search import ExactIndex
from worker.index.backends import APPROXIMATE_FROM, SharedCatalogIndex, index_class, open_shared
from worker.index.snapshots import load_index
from worker.index.sync import CatalogIndex

MAX_INDEXES: Final = 3
"""Open indexes: of the live encoder, of the previous live encoder, and of a candidate (worker/index/refresh.py)."""

_indexes: dict[int, CatalogIndex] = {}  # by encoder, the most recently used at the end
_lock = Lock()

logger = logging.getLogger(__name__)


def index_of(encoder: Encoder) -> CatalogIndex:
    """Return the index of an encoder, opened if necessary. Thread-safe; evicts the least recently used index."""
    with _lock:
        index = _indexes.pop(encoder.pk, None) or _open(_choose(encoder, SearchChoice.current()), encoder)
        while len(_indexes) >= MAX_INDEXES:
            _indexes.pop(next(iter(_indexes)))
        _indexes[encoder.pk] = index
        return index


def refresh_index(encoder: Encoder, backend: Backend) -> None:
    """Bring the index of an encoder up to date, replacing it first if it is not of the chosen backend.

    The old index answers until the new one is ready, so no query waits for it.
    """
    index = index_of(encoder)
    choice = _choose(encoder, backend, index)
    if not _matches(index, choice):
        index = _open(choice, encoder)
        index.refresh()
        if not isinstance(index, SharedCatalogIndex):
            index.index.compact()
        with _lock:
            _indexes[encoder.pk] = index
        logger.info("%s is searched by %s from now on.", encoder, type(index.index).__name__)
    index.refresh()


def release_shared(ready: set[int]) -> None:
    """Drop the shared indexes that are not ready to answer. `ready`: ids of the ready `SharedIndex` rows."""
    with _lock:
        for encoder, index in list(_indexes.items()):
            if isinstance(index, SharedCatalogIndex) and index.row.pk not in ready:
                del _indexes[encoder]


def open_indexes() -> list[CatalogIndex]:
    """Return the open indexes of this process. Thread-safe."""
    with _lock:
        return list(_indexes.values())


Choice = SharedIndex | type[ExactIndex]
"""The row of a shared index, or the class of an in-memory index."""


def _choose(encoder: Encoder, backend: Backend, present: CatalogIndex | None = None) -> Choice:
    """Choose the index of a backend: a shared index only once it is ready, until then the exact index.

    "auto" chooses by the number of vectors, and does not return to the exact index when vectors are removed.
    """
    if backend in SHARED:
        ready = SharedIndex.objects.ready().select_related("encoder").filter(encoder=encoder, backend=backend).first()
        return ready or ExactIndex
    if backend != Backend.AUTO:
        return index_class(backend)
    if present is not None and not isinstance(present, SharedCatalogIndex):
        by_size = index_class(backend, len(present.index))
        return type(present.memory) if by_size is ExactIndex else by_size
    vectors = Embedding.objects.filter(encoder=encoder).count()
    logger.info("auto: %s has %d vectors; an approximate search begins at %d.", encoder, vectors, APPROXIMATE_FROM)
    return index_class(backend, vectors)


def _matches(index: CatalogIndex, choice: Choice) -> bool:
    if isinstance(index, SharedCatalogIndex) or isinstance(choice, SharedIndex):
        return isinstance(index, SharedCatalogIndex) and index.row == choice
    return type(index.index) is choice


def _open(choice: Choice, encoder: Encoder) -> CatalogIndex:
    return open_shared(choice) if isinstance(choice, SharedIndex) else load_index(encoder, choice)
