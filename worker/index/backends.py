"""Search backends: the index class of each, and shared indexes that a server (PostgreSQL, Qdrant) keeps."""

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
"""Number of vectors from which on "auto" means approximate. An exact search of so many takes a few milliseconds."""

PROPAGATION_SECONDS: Final = 3.0
"""Seconds until every worker has noticed a change of a `SharedIndex` row: each reads them once a second."""

SYNC_SECONDS: Final = 0.5
"""Seconds of filling one index before the next index is filled."""

_open: dict[int, "SharedCatalogIndex"] = {}  # by id of the `SharedIndex` row
_lock = Lock()

logger = logging.getLogger(__name__)


class BackendUnavailable(SearchError):
    """The site does not meet a requirement of the backend."""

    code = "backend_unavailable"


def require_available(backend: Backend) -> None:
    """Raise `BackendUnavailable` if the site does not meet a requirement of the backend."""
    if backend == Backend.PGVECTOR and connection.vendor != "postgresql":
        raise BackendUnavailable(
            "pgvector needs PostgreSQL, but the database of this site is SQLite: set DATABASE_URL to a postgres:// URL."
        )
    if backend == Backend.QDRANT and not settings.QDRANT_URL:
        raise BackendUnavailable("qdrant needs a Qdrant server: set QDRANT_URL to its address.")


def index_class(backend: Backend, vectors: int = 0) -> type[ExactIndex]:
    """Return the class of an in-memory index. `vectors`: the expected number, by which "auto" chooses."""
    if backend == Backend.APPROXIMATE or (backend == Backend.AUTO and vectors >= APPROXIMATE_FROM):
        from ml.search.memory.ivf import ApproximateIndex

        return ApproximateIndex
    return ExactIndex


class SharedCatalogIndex(CatalogIndex):
    """An index on a server. Searches do not update it; `sync` does, once a second.

    Only the process that holds the claim on the `SharedIndex` row writes to the index.
    """

    batch_size = 500  # small, so that each is written soon and the claim renewed

    def __init__(self, row: SharedIndex, encoder: Encoder, index: SearchIndex) -> None:
        super().__init__(encoder, index)
        self.row = row
        self._deleted_photos: set[int] = set()

    def refresh(self) -> SearchIndex:
        """Return the index without updating it."""
        return self.index

    def forget(self, photo_ids: Iterable[int]) -> None:
        """Have the next `sync` remove photos that were deleted: a search does not wait for a writer."""
        self._deleted_photos |= set(photo_ids)

    def sync(self, worker: str, seconds: float = SYNC_SECONDS) -> bool:
        """Bring the index up to date unless another process does so; return whether it is up to date.

        An index that is complete for the first time is marked as ready to answer.
        """
        deadline = monotonic() + seconds
        with self._lock:
            pending, deleted = self._pending_changes(), self._deleted_photos.copy()
            if pending is None and not deleted and self.row.ready_at:
                return True
            if not self.row.claim(worker):
                return False
            try:
                done = self._apply(self._pending_changes(), lambda: monotonic() < deadline)
                if deleted:
                    self.index.update(NO_ROWS, photos=list(deleted))
                    self._deleted_photos -= deleted
                if done and not self.row.ready_at:
                    self.row.mark_ready()
                return done
            except ClaimLost as lost:
                logger.warning("%s", lost)
                return False
            finally:
                self.row.release_claim()

    def _update(self, *args: object, **options: object) -> None:
        self.row.renew_claim()
        super()._update(*args, **options)  # type: ignore[arg-type]

    def _start_over(self) -> None:
        clear_index(self.row, self.index)


def open_shared(row: SharedIndex) -> SharedCatalogIndex:
    """Return this process's connection to a shared index, opened once. Thread-safe.

    Raises `BackendUnavailable`, `IndexUnavailable` (the server does not answer) and `IndexUnreadable`.
    """
    encoder = row.encoder
    if encoder is None:
        raise BackendUnavailable(
            f"The encoder {row.encoder_name!r} of this index was deleted; the index will be removed."
        )
    with _lock:
        index = _open.get(row.pk)
        if index is None:
            index = _open[row.pk] = SharedCatalogIndex(row, encoder, _connect(row))
        else:
            index.row.ready_at = row.ready_at
        return index


def _connect(row: SharedIndex) -> SearchIndex:
    require_available(Backend(row.backend))
    if row.backend == Backend.QDRANT:
        from ml.search.qdrant.index import QdrantIndex

        return QdrantIndex(settings.QDRANT_URL, row.encoder_name, row.dim, api_key=settings.QDRANT_API_KEY or None)
    from ml.search.pgvector.index import PgVectorIndex

    return PgVectorIndex(row.encoder_name, row.dim, site_conninfo())


def site_conninfo() -> str:
    """Return the libpq connection string of the site's own database, as Django connects to it."""
    keywords = {option.keyword.decode() for option in Conninfo.get_defaults()}
    parameters = connection.get_connection_params()
    return make_conninfo(**{name: value for name, value in parameters.items() if name in keywords})


def clear_index(row: SharedIndex, index: SearchIndex) -> None:
    """Delete every vector of an index, after every worker has stopped searching it (`PROPAGATION_SECONDS`)."""
    if row.ready_at:
        row.mark_unready()
        sleep(PROPAGATION_SECONDS)
    index.clear()


def remove_shared(row: SharedIndex) -> None:
    """Delete an index from its server, and its row. Raises what `open_shared` raises."""
    with _lock:
        open_index = _open.pop(row.pk, None)
    # If the encoder was deleted and its name is used again, the index on the server belongs to the new encoder.
    if row.encoder is not None or not Encoder.objects.filter(name=row.encoder_name).exists():
        index = open_index.index if open_index else _connect(row)
        clear_index(row, index)
        index.close()
    row.delete()


def close_removed(rows: Iterable[SharedIndex]) -> None:
    """Close this process's connections to indexes that are not among `rows`."""
    with _lock:
        for pk in _open.keys() - {row.pk for row in rows}:
            _open.pop(pk).index.close()
