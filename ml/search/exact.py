"""The exact search: the answer of a comparison with every vector, without reading all of every vector."""

import threading
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from ml.search.hits import DuplicatePhotoError, EncoderMismatch, Hit, SearchError, UnknownPhotoError
from ml.search.segments import NOTHING, Bools, Ints, Near, Segment, joined
from ml.vectors import Floats, ShapeError, require_unit_rows

Scalar = TypeVar("Scalar", np.float32, np.int64)

SEALED_AT = 16_384
"""Rows of a full last segment. One pass over the vectors of so many takes less than half a millisecond."""

FIRST_CAPACITY = 256
FIRST_POOL = 32
"""Rows looked at in full by the first attempt, at least: more than asked for, since items may have several photos."""


class VectorIndex:
    """Unit vectors of photos, all of one encoder, searched exactly.

    One writer may change it while many readers search: the rows are in segments that never change, and a change is a
    new list of segments, published by a single assignment. Each search works on the list it took at its start. Several
    writers are kept apart by a lock. New rows come into a last, small segment; when that is full it is sealed, and
    segments of like size become one, so that there are few of them.
    """

    def __init__(self, encoder: str, dim: int, sealed_at: int = SEALED_AT) -> None:
        """`encoder` identifies what made the vectors (`Card.identifier`); `dim` is their length."""
        self.encoder = encoder
        self.dim = dim
        self._sealed_at = sealed_at
        self._writing = threading.Lock()
        self._segments: tuple[Segment, ...] = ()
        self._sealed: list[Segment] = []
        self._tail = _Tail(dim)

    def __len__(self) -> int:
        return sum(segment.living for segment in self._segments)

    def add(self, photo_ids: npt.ArrayLike, item_ids: npt.ArrayLike, vectors: npt.ArrayLike) -> None:
        """Add photos; all of them or, on an error, none. The cost grows a little more than linearly.

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
            self._tail.append(rows, photos, items)
            if len(self._tail) >= self._sealed_at:
                self._sealed = _merged([*self._sealed, joined([self._tail.segment], scanned=True)])
                self._tail = _Tail(self.dim)
            self._publish()

    def remove(self, photo_ids: npt.ArrayLike) -> int:
        """Take photos out, those that are in it. Returns how many that were."""
        photos = np.unique(_as_ids(photo_ids))
        with self._writing:
            before = len(self)
            fewer = [_without(segment, photos) for segment in self._sealed]
            self._sealed = [segment for segment in fewer if segment.living]
            self._tail = self._tail.without(photos)
            self._publish()
            return before - len(self)

    def search(
        self, vector: npt.ArrayLike, k: int, *, encoder: str, allowed_items: npt.ArrayLike | None = None
    ) -> list[Hit]:
        """Return the `k` items nearest to `vector` (d), one hit each with its best photo; all items if k is larger.

        Ordered by score downwards, then item id, then photo id. `allowed_items`: ids of the items that may answer; None
        means any, an empty array none. Raises `EncoderMismatch`, `SearchError` for k below 1, or a `VectorError`.
        """
        if encoder != self.encoder:
            raise EncoderMismatch(f"The vector is of encoder {encoder!r}, the index of {self.encoder!r}.")
        if k < 1:
            raise SearchError(f"k must be 1 or more, not {k}.")
        query = require_unit_rows(np.asarray(vector, dtype=np.float32)[None], self.dim)[0]
        allowed = None if allowed_items is None else np.unique(_as_ids(allowed_items))
        return _best_items(self._segments, query, k, allowed)

    def vectors_of(self, photo_ids: Sequence[int]) -> Floats:
        """Return the vectors (n, d) of photos in the index, in the order asked for. Raises `UnknownPhotoError`."""
        wanted = _as_ids(photo_ids)
        vectors, missing = np.empty((len(wanted), self.dim), dtype=np.float32), np.ones(len(wanted), dtype=bool)
        for segment in self._segments:
            rows = segment.rows_of_photos(wanted)
            known = rows >= 0
            vectors[known] = segment.vectors[rows[known]]
            missing &= ~known
        if missing.any():
            raise UnknownPhotoError(f"Photo {wanted[missing][0]} is not in the index.")
        return vectors

    def contains(self, photo_ids: npt.ArrayLike) -> Bools:
        """Return, for each photo id, whether it is in the index."""
        wanted = _as_ids(photo_ids)
        known = np.zeros(len(wanted), dtype=bool)
        for segment in self._segments:
            known |= segment.rows_of_photos(wanted) >= 0
        return known

    def _require_new(self, photos: Ints) -> None:
        values, counts = np.unique(photos, return_counts=True)
        known = (counts > 1) | self.contains(values)
        if known.any():
            raise DuplicatePhotoError(f"Photo {values[known][0]} would be in the index twice.")

    def _publish(self) -> None:
        self._segments = (*self._sealed, self._tail.segment) if len(self._tail) else tuple(self._sealed)


class _Tail:
    """The rows that are not sealed yet, in arrays with room for more; readers have views of the rows that are there."""

    def __init__(self, dim: int) -> None:
        self._vectors = np.empty((0, dim), dtype=np.float32)
        self._photo_ids, self._item_ids = np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    @property
    def segment(self) -> Segment:
        end = self._count
        return Segment(self._vectors[:end], self._photo_ids[:end], self._item_ids[:end])

    def append(self, vectors: Floats, photo_ids: Ints, item_ids: Ints) -> None:
        start, end = self._count, self._count + len(photo_ids)
        if end > len(self._photo_ids):
            # The old arrays stay as they are for the readers whose views look into them.
            capacity = max(end, 2 * len(self._photo_ids), FIRST_CAPACITY)
            self._vectors = _grown(self._vectors, capacity)
            self._photo_ids, self._item_ids = _grown(self._photo_ids, capacity), _grown(self._item_ids, capacity)
        self._vectors[start:end] = vectors
        self._photo_ids[start:end] = photo_ids
        self._item_ids[start:end] = item_ids
        self._count = end

    def without(self, photo_ids: Ints) -> "_Tail":
        """The tail without these photos, in new arrays."""
        old = self.segment
        keep = ~np.isin(old.photo_ids, photo_ids)
        new = _Tail(self._vectors.shape[1])
        new.append(old.vectors[keep], old.photo_ids[keep], old.item_ids[keep])
        return new


def _grown(array: npt.NDArray[Scalar], capacity: int) -> npt.NDArray[Scalar]:
    larger = np.empty((capacity, *array.shape[1:]), dtype=array.dtype)
    larger[: len(array)] = array
    return larger


def _merged(segments: list[Segment]) -> list[Segment]:
    """Make one of the last two segments while the last is at least half as large as the one before it."""
    while len(segments) > 1 and 2 * len(segments[-1]) >= len(segments[-2]):
        segments = [*segments[:-2], joined(segments[-2:], scanned=True)]
    return segments


def _without(segment: Segment, photos: Ints) -> Segment:
    """The segment without these photos; made anew when a quarter of it is gone, so that nothing drags on for ever."""
    rows = segment.rows_of_photos(photos)
    rows = rows[rows >= 0]
    if not len(rows):
        return segment
    fewer = segment.without(rows)
    worn = 4 * fewer.living <= 3 * len(fewer)
    return joined([fewer], scanned=True) if worn and fewer.living else fewer


def _best_items(segments: Sequence[Segment], query: Floats, k: int, allowed: Ints | None) -> list[Hit]:
    """Look at the nearest rows of each segment, and at more of those that may hold something nearer still."""
    pool = max(FIRST_POOL, 2 * k)
    near = [segment.nearest(query, pool, allowed) for segment in segments]
    while True:
        hits = _one_hit_per_item(segments, near, query)
        needed = hits[k - 1].score if len(hits) >= k else NOTHING
        unsure = [place for place, found in enumerate(near) if found.beyond > NOTHING and found.beyond >= needed]
        if not unsure:
            return hits[:k]
        pool *= 4
        for place in unsure:
            near[place] = segments[place].nearest(query, pool, allowed)


def _one_hit_per_item(segments: Sequence[Segment], near: Sequence[Near], query: Floats) -> list[Hit]:
    """Sort the found rows by score, item id and photo id, and keep the first row of each item.

    Scores are taken anew, row by row in float64: a matrix product may round equal rows differently, depending on where
    they stand, and ties would not be stable.
    """
    found = [(segment, place.rows) for segment, place in zip(segments, near, strict=True) if len(place.rows)]
    if not found:
        return []
    vectors = np.concatenate([segment.vectors[rows] for segment, rows in found])
    items = np.concatenate([segment.item_ids[rows] for segment, rows in found])
    photos = np.concatenate([segment.photo_ids[rows] for segment, rows in found])
    scores = (vectors.astype(np.float64) * query).sum(axis=1).astype(np.float32)
    order = np.lexsort((photos, items, -scores))
    _, first = np.unique(items[order], return_index=True)
    return [Hit(int(items[row]), int(photos[row]), float(scores[row])) for row in order[np.sort(first)]]


def _as_ids(ids: npt.ArrayLike) -> Ints:
    """Return ids as int64 (n). Raises `ShapeError` for anything but whole numbers: 1.5 would silently become 1."""
    array = np.asarray(ids)
    if array.size == 0:
        return np.empty(0, dtype=np.int64)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise ShapeError(f"Ids must be whole numbers in one row, not {array.dtype} in the shape {array.shape}.")
    return array.astype(np.int64)
