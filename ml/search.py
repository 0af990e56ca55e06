"""The exact search: every vector compared with the query, on the CPU, with numpy alone."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from ml.errors import InputError
from ml.vectors import Floats, ShapeError, require_unit_rows

Ints = npt.NDArray[np.int64]
Scalar = TypeVar("Scalar", np.float32, np.int64)

FIRST_CAPACITY = 1024
ROUNDING = 1e-5
"""More than the error of a float32 dot product of unit vectors, so that no true answer is dropped before re-scoring."""


class SearchError(InputError):
    """Base of the errors of a search that are not about the vectors themselves."""


class EncoderMismatch(SearchError):
    """Vectors of different encoders cannot be compared."""


class DuplicatePhotoError(SearchError):
    """A photo is in the index already."""


class UnknownPhotoError(SearchError):
    """A photo is not in the index."""


@dataclass(frozen=True)
class Hit:
    """One item of an answer: the photo of it that is nearest to the query, and their cosine, -1..1."""

    item_id: int
    photo_id: int
    score: float


@dataclass(frozen=True)
class IndexSnapshot:
    """The rows that were complete at one moment. They are never written again, so a reader needs no lock."""

    vectors: Floats  # (n, d)
    photo_ids: Ints  # (n,)
    item_ids: Ints  # (n,)


class VectorIndex:
    """Unit vectors of photos, all of one encoder, searched exactly.

    One writer may add while many readers search: the writer fills spare rows behind the last snapshot, then publishes
    a longer one by a single assignment. Each search works on the snapshot it took at its start. Several writers are
    kept apart by a lock.
    """

    def __init__(self, encoder: str, dim: int) -> None:
        """`encoder` identifies what made the vectors (`Card.identifier`); `dim` is their length."""
        self.encoder = encoder
        self.dim = dim
        self._writing = threading.Lock()
        self._vectors = np.empty((0, dim), dtype=np.float32)
        self._photo_ids = np.empty(0, dtype=np.int64)
        self._item_ids = np.empty(0, dtype=np.int64)
        self._snapshot = IndexSnapshot(self._vectors, self._photo_ids, self._item_ids)

    def __len__(self) -> int:
        return len(self._snapshot.photo_ids)

    @property
    def snapshot(self) -> IndexSnapshot:
        """The rows that are complete now; they stay as they are while the index grows."""
        return self._snapshot

    def add(self, photo_ids: npt.ArrayLike, item_ids: npt.ArrayLike, vectors: npt.ArrayLike) -> None:
        """Add photos; all of them or, on an error, none. Amortised cost is linear in the number added.

        `photo_ids` (n), `item_ids` (n): integers; `vectors` (n, d): unit rows made by this index's encoder.
        Raises `DuplicatePhotoError` or a `VectorError`.
        """
        photos, items = _as_ids(photo_ids), _as_ids(item_ids)
        rows = require_unit_rows(vectors, self.dim)
        if not len(photos) == len(items) == len(rows):
            raise ShapeError(
                f"{len(photos)} photo ids, {len(items)} item ids and {len(rows)} vectors do not belong together."
            )
        with self._writing:
            self._require_new(photos)
            start, end = len(self), len(self) + len(rows)
            self._reserve(end)
            self._vectors[start:end] = rows
            self._photo_ids[start:end] = photos
            self._item_ids[start:end] = items
            self._snapshot = IndexSnapshot(self._vectors[:end], self._photo_ids[:end], self._item_ids[:end])

    def search(
        self, vector: npt.ArrayLike, k: int, *, encoder: str, allowed_items: npt.ArrayLike | None = None
    ) -> list[Hit]:
        """Return the `k` items nearest to `vector` (d), one hit each with its best photo; all items if k is larger.

        Ordered by score downwards, then item id, then photo id. `allowed_items`: ids of the items that may answer; None
        means any, an empty array none. Raises `EncoderMismatch`, `SearchError` for k below 1, or a `VectorError`.
        """
        self._require_encoder(encoder)
        if k < 1:
            raise SearchError(f"k must be 1 or more, not {k}.")
        query = require_unit_rows(np.asarray(vector, dtype=np.float32)[None], self.dim)[0]
        snapshot = self._snapshot
        if allowed_items is not None:
            snapshot = _restricted(snapshot, np.isin(snapshot.item_ids, _as_ids(allowed_items)))
        return _best_items(snapshot, query, k)

    def vectors_of(self, photo_ids: Sequence[int]) -> Floats:
        """Return the vectors (n, d) of photos in the index, in the order asked for. Raises `UnknownPhotoError`."""
        snapshot, wanted = self._snapshot, _as_ids(photo_ids)
        rows = np.flatnonzero(np.isin(snapshot.photo_ids, wanted))
        row_of = dict(zip(snapshot.photo_ids[rows].tolist(), rows.tolist(), strict=True))
        missing = [photo for photo in wanted.tolist() if photo not in row_of]
        if missing:
            raise UnknownPhotoError(f"Photo {missing[0]} is not in the index.")
        return snapshot.vectors[[row_of[photo] for photo in wanted.tolist()]].reshape(-1, self.dim)

    def contains(self, photo_ids: npt.ArrayLike) -> npt.NDArray[np.bool_]:
        """Return, for each photo id, whether it is in the index."""
        return np.isin(_as_ids(photo_ids), self._snapshot.photo_ids)

    def _require_encoder(self, encoder: str) -> None:
        if encoder != self.encoder:
            raise EncoderMismatch(f"The vector is of encoder {encoder!r}, the index of {self.encoder!r}.")

    def _require_new(self, photos: Ints) -> None:
        values, counts = np.unique(photos, return_counts=True)
        known = (counts > 1) | self.contains(values)
        if known.any():
            raise DuplicatePhotoError(f"Photo {values[known][0]} would be in the index twice.")

    def _reserve(self, rows: int) -> None:
        """Make room by doubling. The old arrays stay untouched for the readers whose snapshots look into them."""
        if rows <= len(self._photo_ids):
            return
        capacity = max(FIRST_CAPACITY, rows, 2 * len(self._photo_ids))
        self._vectors = _grown(self._vectors, capacity)
        self._photo_ids = _grown(self._photo_ids, capacity)
        self._item_ids = _grown(self._item_ids, capacity)


def _best_items(snapshot: IndexSnapshot, query: Floats, k: int) -> list[Hit]:
    """Rank the rows that can be among the k best items: first the nearest 2k rows, more while items repeat in them."""
    scores = snapshot.vectors @ query
    pool = 2 * k
    while True:
        rows = _rows_of_the_best(scores, pool)
        hits = _one_hit_per_item(snapshot, rows, query)
        if len(hits) >= k or len(rows) == len(scores):
            return hits[:k]
        pool *= 4


def _rows_of_the_best(scores: Floats, count: int) -> Ints:
    """Return every row whose score may be one of the `count` highest, ties at the border included."""
    if count >= len(scores):
        return np.arange(len(scores))
    border = np.partition(scores, len(scores) - count)[len(scores) - count]
    return np.flatnonzero(scores >= border - ROUNDING)


def _one_hit_per_item(snapshot: IndexSnapshot, rows: Ints, query: Floats) -> list[Hit]:
    """Sort `rows` by score, item id and photo id, and keep the first row of each item.

    Scores are taken anew, row by row in float64: a matrix product may round equal rows differently, depending on where
    they stand, and ties would not be stable.
    """
    scores = (snapshot.vectors[rows].astype(np.float64) * query).sum(axis=1).astype(np.float32)
    items, photos = snapshot.item_ids[rows], snapshot.photo_ids[rows]
    order = np.lexsort((photos, items, -scores))
    _, first = np.unique(items[order], return_index=True)
    return [Hit(int(items[row]), int(photos[row]), float(scores[row])) for row in order[np.sort(first)]]


def diversify(hits: Sequence[Hit], vectors_of_hits: npt.ArrayLike, k: int, diversity: float) -> list[Hit]:
    """Choose `k` of `hits` that are near the query and unlike each other, by maximal marginal relevance.

    `hits` is a pool larger than the page, best first; `vectors_of_hits` (n, d) are its unit vectors in the same order.
    `diversity` 0 keeps the order, 1 looks only at how unlike the chosen ones a hit is; the first hit stays first.
    Each step takes the hit with the highest (1 - diversity) * score - diversity * max(cosine to a chosen one), of
    equals the earlier: J. Carbonell and J. Goldstein, "The Use of MMR, Diversity-Based Reranking for Reordering
    Documents and Producing Summaries", SIGIR 1998, with lambda = 1 - diversity.
    Raises `SearchError` or a `VectorError`.
    """
    if not 0.0 <= diversity <= 1.0:
        raise SearchError(f"Diversity must lie between 0 and 1, not at {diversity}.")
    if diversity == 0.0 or not hits or k < 1:
        return list(hits[: max(k, 0)])
    vectors = np.asarray(vectors_of_hits, dtype=np.float32)
    vectors = require_unit_rows(vectors, vectors.shape[-1] if vectors.ndim else 0)
    if len(vectors) != len(hits):
        raise ShapeError(f"{len(hits)} hits and {len(vectors)} vectors do not belong together.")
    relevance = (1.0 - diversity) * np.array([hit.score for hit in hits])
    closest = np.full(len(hits), -np.inf)  # to any chosen hit
    chosen = [0]
    while len(chosen) < min(k, len(hits)):
        closest = np.maximum(closest, vectors @ vectors[chosen[-1]])
        value = relevance - diversity * closest
        value[chosen] = -np.inf
        chosen.append(int(np.argmax(value)))
    return [hits[place] for place in chosen]


def _restricted(snapshot: IndexSnapshot, keep: npt.NDArray[np.bool_]) -> IndexSnapshot:
    return IndexSnapshot(snapshot.vectors[keep], snapshot.photo_ids[keep], snapshot.item_ids[keep])


def _as_ids(ids: npt.ArrayLike) -> Ints:
    """Return ids as int64 (n). Raises `ShapeError` for anything but whole numbers: 1.5 would silently become 1."""
    array = np.asarray(ids)
    if array.size == 0:
        return np.empty(0, dtype=np.int64)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise ShapeError(f"Ids must be whole numbers in one row, not {array.dtype} in the shape {array.shape}.")
    return array.astype(np.int64)


def _grown(array: npt.NDArray[Scalar], capacity: int) -> npt.NDArray[Scalar]:
    larger = np.empty((capacity, *array.shape[1:]), dtype=array.dtype)
    larger[: len(array)] = array
    return larger
