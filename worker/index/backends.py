"""The kinds of index: which class stands behind a name, and those that a server keeps for all workers."""

import logging
from collections.abc import Iterable
from threading import Lock
from time import monotonic, sleep
from typing import Final

from django.conf import settings
from django.db import connection
from psycopg.conninfo import make_conninfo
from psycopg.pq import Conninfo

from catalog.errors import ClaimLost
from catalog.models import Backend, Encoder, SharedIndex
from ml.search import ExactIndex, SearchError, SearchIndex
from worker.index.sync import NO_ROWS, CatalogIndex

APPROXIMATE_FROM: Final = 300_000
"""Vectors from which on "auto" means approximate. An exact search of so many takes a few milliseconds."""

NOTICED: Final = 3.0
"""Seconds after which every worker acts on what was written into a row of `SharedIndex`: they look each second."""

AT_A_TIME: Final = 0.5
"""Seconds for which one index is filled before the others have their turn."""

_shared: dict[int, "SharedCatalogIndex"] = {}  # by the row's id
_lock = Lock()

logger = logging.getLogger(__name__)


class BackendNotPossible(SearchError):
    """This site cannot have such an index."""


def require_possible(backend: Backend) -> None:
    """Raises `BackendNotPossible`, with what is missing."""
    if backend == Backend.PGVECTOR and connection.vendor != "postgresql":
        raise BackendNotPossible("pgvector keeps the vectors in PostgreSQL, and the database of this site is SQLite.")
    if backend == Backend.QDRANT and not settings.QDRANT_URL:
        raise BackendNotPossible("QDRANT_URL does not say where a Qdrant answers.")


def kind_of(backend: Backend, vectors: int = 0) -> type[ExactIndex]:
    """The class of an index in memory; `vectors`: how many it will have, which "auto" goes by."""
    if backend == Backend.APPROXIMATE or (backend == Backend.AUTO and vectors >= APPROXIMATE_FROM):
        from ml.search.memory.ivf import ApproximateIndex

        return ApproximateIndex
    return ExactIndex


class SharedCatalogIndex(CatalogIndex):
    """An index that a server keeps. A search asks it as it is; it is brought up to date each second by `feed`.

    Changes reach it through the one process that holds the claim on its row.
    """

    part = 500  # so that each is written soon, and the claim renewed

    def __init__(self, row: SharedIndex, encoder: Encoder, index: SearchIndex) -> None:
        super().__init__(encoder, index)
        self.row = row
        self._gone: set[int] = set()

    def refresh(self) -> SearchIndex:
        return self.index

    def forget(self, photo_ids: Iterable[int]) -> None:
        self._gone |= set(photo_ids)  # nobody who waits for an answer waits for a writer

    def feed(self, worker: str, seconds: float = AT_A_TIME) -> bool:
        """Bring it up to date, unless another process does. Returns whether that is done.

        One that was filled for the first time may answer from then on.
        """
        deadline = monotonic() + seconds
        with self._lock:
            news, gone = self._news(), self._gone.copy()
            if news is None and not gone and self.row.ready_at:
                return True
            if not self.row.claim(worker):
                return False
            try:
                done = self._take_in(self._news(), lambda: monotonic() < deadline)
                if gone:
                    self.index.update(NO_ROWS, photos=list(gone))
                    self._gone -= gone
                if done and not self.row.ready_at:
                    self.row.mark_ready()
                return done
            except ClaimLost as lost:
                logger.warning("%s", lost)
                return False
            finally:
                self.row.release()

    def _put(self, *args: object, **options: object) -> None:
        self.row.renew_claim()
        super()._put(*args, **options)  # type: ignore[arg-type]

    def _start_over(self) -> None:
        empty(self.row, self.index)


def shared(row: SharedIndex) -> SharedCatalogIndex:
    """This process's connection to it. Raises `IndexUnavailable` and what else keeps an index from being opened."""
    encoder = row.encoder
    if encoder is None:
        raise BackendNotPossible(f"There is no encoder {row.encoder_name!r} any more.")
    with _lock:
        known = _shared.get(row.pk)
        if known is None:
            known = _shared[row.pk] = SharedCatalogIndex(row, encoder, _connected(row))
        else:
            known.row.ready_at = row.ready_at
        return known


def _connected(row: SharedIndex) -> SearchIndex:
    require_possible(Backend(row.backend))
    if row.backend == Backend.QDRANT:
        from ml.search.qdrant.index import QdrantIndex

        return QdrantIndex(settings.QDRANT_URL, row.encoder_name, row.dim, api_key=settings.QDRANT_API_KEY or None)
    from ml.search.pgvector.index import PgVectorIndex

    return PgVectorIndex(row.encoder_name, row.dim, database_of_the_site())


def database_of_the_site() -> str:
    """The site's own database in libpq's words, as Django connects to it."""
    words = {option.keyword.decode() for option in Conninfo.get_defaults()}
    return make_conninfo(**{word: told for word, told in connection.get_connection_params().items() if word in words})


def empty(row: SharedIndex, index: SearchIndex) -> None:
    """Take every row out of an index, once no worker asks it any more."""
    if row.ready_at:
        row.mark_unready()
        sleep(NOTICED)
    index.clear()


def take_away(row: SharedIndex) -> None:
    """Remove an index from its server."""
    with _lock:
        known = _shared.pop(row.pk, None)
    # One of a deleted encoder whose name was given to another belongs to that one now, which fills it anew.
    if row.encoder is not None or not Encoder.objects.filter(name=row.encoder_name).exists():
        index = known.index if known else _connected(row)
        empty(row, index)
        index.close()
    row.delete()


def forget_closed(rows: Iterable[SharedIndex]) -> None:
    """Close this process's connections to indexes that are not among `rows` any more."""
    with _lock:
        for pk in _shared.keys() - {row.pk for row in rows}:
            _shared.pop(pk).index.close()
