"""The vectors of the catalogue in this process's memory: a cache of the rows, brought up to date before each search."""

from collections.abc import Iterable
from threading import Lock

import numpy as np
from django.db.models import QuerySet

from catalog.models import Embedding, Encoder
from ml.search import DuplicatePhotoError, VectorIndex

_CHUNK = 2000  # rows fetched at a time
KEPT = 3  # indexes in memory: the live encoder's, the one before it, and that of a candidate (worker/warming.py)

_indexes: dict[int, "CatalogIndex"] = {}
_lock = Lock()


class CatalogIndex:
    """All vectors of one encoder, or those of `rows`, some of its embeddings."""

    def __init__(self, encoder: Encoder, rows: QuerySet[Embedding] | None = None) -> None:
        self.encoder = encoder
        self._rows = Embedding.objects.filter(encoder=encoder) if rows is None else rows
        self._lock = Lock()
        self._start_over()

    def _start_over(self) -> None:
        self.vectors = VectorIndex(encoder=self.encoder.name, dim=self.encoder.dim)
        self.last_id = 0

    def refresh(self) -> VectorIndex:
        """The index with every row that is committed by now: reads only the rows after the last one it knows."""
        with self._lock:
            try:
                self._read_new_rows()
            except DuplicatePhotoError:  # a vector was deleted and made again, so the one in memory is out of date
                self._start_over()
                self._read_new_rows()
            return self.vectors

    def forget(self, photo_ids: Iterable[int]) -> None:
        """Take out photos that are gone."""
        self.vectors.remove(list(photo_ids))

    def _read_new_rows(self) -> None:
        columns = self._rows.order_by("id").values_list("id", "photo_id", "item_id", "vector")
        while chunk := list(columns.filter(id__gt=self.last_id)[:_CHUNK]):
            ids, photos, items, vectors = zip(*chunk, strict=True)
            matrix = np.frombuffer(b"".join(map(bytes, vectors)), dtype="<f4").reshape(len(chunk), -1)
            self.vectors.add(photos, items, matrix)
            self.last_id = ids[-1]


def index_of(encoder: Encoder) -> CatalogIndex:
    """This process's index of an encoder; empty until it is first refreshed. Those used last are kept."""
    with _lock:
        index = _indexes.pop(encoder.pk, None) or CatalogIndex(encoder)
        while len(_indexes) >= KEPT:
            _indexes.pop(next(iter(_indexes)))
        _indexes[encoder.pk] = index
        return index
