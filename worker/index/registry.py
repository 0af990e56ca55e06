"""What answers in this process: for each encoder an index of the kind that was chosen for the site."""

import logging
from threading import Lock
from typing import Final

from catalog.models import SHARED, Backend, Embedding, Encoder, SearchChoice, SharedIndex
from ml.search import ExactIndex
from worker.index.backends import APPROXIMATE_FROM, SharedCatalogIndex, kind_of, shared
from worker.index.snapshots import opened
from worker.index.sync import CatalogIndex

KEPT: Final = 3
"""Indexes in memory: the live encoder's, the one before it, and that of a candidate (worker/index/refresh.py)."""

_indexes: dict[int, CatalogIndex] = {}  # by encoder, used last at the end
_lock = Lock()

logger = logging.getLogger(__name__)


def index_of(encoder: Encoder) -> CatalogIndex:
    """What answers for an encoder, opened if need be. Those used last are kept."""
    with _lock:
        index = _indexes.pop(encoder.pk, None) or _open(_wanted(encoder, SearchChoice.current()), encoder)
        while len(_indexes) >= KEPT:
            _indexes.pop(next(iter(_indexes)))
        _indexes[encoder.pk] = index
        return index


def follow(encoder: Encoder, backend: Backend) -> None:
    """Have the index of an encoder up to date in this process, and of the kind that is chosen now.

    What was chosen before answers until the other is ready, so nobody waits for that.
    """
    index = index_of(encoder)
    wanted = _wanted(encoder, backend, index)
    if not _is(index, wanted):
        index = _open(wanted, encoder)
        index.refresh()
        if not isinstance(index, SharedCatalogIndex):
            index.index.compact()
        with _lock:
            _indexes[encoder.pk] = index
        logger.info("%s is searched by %s now.", encoder, type(index.index).__name__)
    index.refresh()


def stop_asking(ready: set[int]) -> None:
    """Let go of shared indexes that are not among the ready ones, by the ids of their rows."""
    with _lock:
        for encoder, index in list(_indexes.items()):
            if isinstance(index, SharedCatalogIndex) and index.row.pk not in ready:
                del _indexes[encoder]


def in_use() -> list[CatalogIndex]:
    with _lock:
        return list(_indexes.values())


Wanted = SharedIndex | type[ExactIndex]


def _wanted(encoder: Encoder, backend: Backend, present: CatalogIndex | None = None) -> Wanted:
    """The shared index that is chosen; in memory, its kind, and that is also what answers until a shared one is filled.

    "auto" goes by the number of vectors, but not back to the exact index when some of them are gone again.
    """
    if backend in SHARED:
        ready = SharedIndex.objects.ready().select_related("encoder").filter(encoder=encoder, backend=backend).first()
        return ready or ExactIndex
    if backend != Backend.AUTO:
        return kind_of(backend)
    if present is not None and not isinstance(present, SharedCatalogIndex):
        kind = kind_of(backend, len(present.index))
        return type(present.memory) if kind is ExactIndex else kind
    vectors = Embedding.objects.filter(encoder=encoder).count()
    logger.info("auto: %s has %d vectors; an approximate search begins at %d.", encoder, vectors, APPROXIMATE_FROM)
    return kind_of(backend, vectors)


def _is(index: CatalogIndex, wanted: Wanted) -> bool:
    if isinstance(index, SharedCatalogIndex) or isinstance(wanted, SharedIndex):
        return isinstance(index, SharedCatalogIndex) and index.row == wanted
    return type(index.index) is wanted


def _open(wanted: Wanted, encoder: Encoder) -> CatalogIndex:
    return shared(wanted) if isinstance(wanted, SharedIndex) else opened(encoder, wanted)


__all__ = ["KEPT", "CatalogIndex", "follow", "in_use", "index_of", "stop_asking"]
