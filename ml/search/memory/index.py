"""Exact nearest-neighbour search in memory, equal to brute force; faster than a flat FAISS index, with filters.

Results are exact under filters, with one hit per item; the flat index of a library ranks photos, so that an item
with many photos fills the top k. At a million vectors of 100 dimensions, top 20, on two cores (docs/performance.md)
this index takes 12.0 ms a query and FAISS flat 55.3 ms (4.6 times as long), 2.9 and 19.3 ms in batches of 64 (6.7
times), and with a filter to one category of twenty 3.0 and 15.6 ms. Its speed comes from an int8-quantised first pass
(`ml.search.memory.quantized_scan`). The structure is that of a log-structured merge tree: immutable segments,
tombstones, compaction.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from ml.search.hits import Hit, UnknownPhotoError, best_hits
from ml.search.interface import Position, SearchIndex
from ml.search.memory.columns import Columns, Vocabulary
from ml.search.memory.segments import Bounds, Segment, merge_segments
from ml.search.rows import ANY, Bools, Ints, Rows, Where, as_ids
from ml.vectors import Floats

SEALED_AT: Final = 16_384
"""Rows at which the growing segment is sealed. One pass over so many vectors takes about half a millisecond."""

MAX_TOMBSTONES: Final = 0.25
"""The share of deleted rows from which on a segment is rewritten."""

MAX_MERGED_ROWS: Final = 2_000_000
"""Most rows of a merged segment, so that the memory of a merge is bounded."""

MIN_RESCORED_GROUPS: Final = 32
"""Fewest groups of rows scored in full by the first attempt: items may have several photos."""


@dataclass(frozen=True)
class State:
    """An immutable snapshot for searches. The last segment may still grow; readers see the rows it had."""

    segments: tuple[Segment, ...] = ()
    position: Position = field(default_factory=dict)
    vocabulary: Vocabulary = field(default_factory=Vocabulary)


class ExactIndex(SearchIndex):
    """Exact search in immutable segments; a change publishes a new list of segments by one assignment.

    Each search works on the list it took at its start, so that it needs no lock. New rows go to a last, small segment;
    a full segment is sealed and another begun. `compact` merges segments into few large ones, which are searched much
    faster.
    """

    exact = True

    def __init__(self, encoder: str, dim: int, sealed_at: int = SEALED_AT) -> None:
        super().__init__(encoder, dim)
        self._sealed_at = sealed_at
        self._writing, self._compacting = threading.Lock(), threading.Lock()
        self._reset(State())

    def _reset(self, state: State) -> None:
        self._state = state
        self._growing = _GrowingSegment(self.dim)

    @classmethod
    def restored(cls, encoder: str, dim: int, state: State) -> Self:
        """Return an index with a stored state."""
        index = cls(encoder, dim)
        index._reset(state)
        return index

    @property
    def state(self) -> State:
        """The segments and the position at one moment. The vocabulary may hold words that no row has any more."""
        return self._state

    def __len__(self) -> int:
        return sum(segment.live_count for segment in self._state.segments)

    @property
    def position(self) -> Position:
        return self._state.position

    def vectors_of(self, photo_ids: Sequence[int]) -> Floats:
        ids = as_ids(photo_ids)
        vectors, missing = np.empty((len(ids), self.dim), dtype=np.float32), np.ones(len(ids), dtype=bool)
        for segment in self._state.segments:
            rows = segment.rows_of_photos(ids)
            present = rows >= 0
            vectors[present] = segment.vectors[rows[present]]
            missing &= ~present
        if missing.any():
            raise UnknownPhotoError(f"Photo {ids[missing][0]} is not in the index.")
        return vectors

    def contains(self, photo_ids: npt.ArrayLike) -> Bools:
        ids = as_ids(photo_ids)
        present = np.zeros(len(ids), dtype=bool)
        for segment in self._state.segments:
            present |= segment.rows_of_photos(ids) >= 0
        return present

    def clear(self) -> None:
        with self._writing:
            self._reset(State())

    def compact(self) -> bool:
        with self._compacting:
            state = self._state
            parts = _segments_to_merge(state.segments, growing=self._growing.number)
            if not parts:
                return False
            merged = self._merge(parts)
            with self._writing:
                self._replace(parts, merged)
            return True

    def _merge(self, parts: list[Segment]) -> Segment:
        return merge_segments(parts)

    def _replace(self, parts: list[Segment], merged: Segment) -> None:
        """Publish `merged` in place of `parts`, without the rows that were deleted during the merge."""
        before = {part.number: part for part in parts}
        now = [segment for segment in self._state.segments if segment.number in before]
        deleted = [_deleted_since(before[segment.number], segment) for segment in now]
        deleted += [part.photo_ids for part in parts if part.number not in {segment.number for segment in now}]
        rows = merged.rows_of_photos(np.concatenate([*deleted, np.empty(0, dtype=np.int64)]))
        merged = merged.without(rows[rows >= 0])
        others = [segment for segment in self._state.segments if segment.number not in before]
        self._state = replace(self._state, segments=tuple(part for part in (merged, *others) if self._is_needed(part)))

    def _is_needed(self, segment: Segment) -> bool:
        return bool(segment.live_count) or segment.number == self._growing.number

    def _update(self, rows: Rows, items: Ints, photos: Ints, position: Position | None) -> None:
        with self._writing:
            replaced = np.union1d(photos, rows.photo_ids)
            segments = [_without(segment, items, replaced) for segment in self._state.segments]
            segments = [segment for segment in segments if self._is_needed(segment)]
            if len(rows):
                columns = self._state.vocabulary.encode(rows)
                tail = next((segment for segment in segments if segment.number == self._growing.number), None)
                segments = [segment for segment in segments if segment is not tail]
                segments.append(self._growing.append(rows, columns, None if tail is None else tail.tombstones))
            if len(self._growing) >= self._sealed_at:
                self._growing = _GrowingSegment(self.dim)
            position = self._state.position if position is None else dict(position)
            self._state = replace(self._state, segments=tuple(segments), position=position)

    def _search(self, queries: Floats, k: int, where: Where) -> list[list[Hit]]:
        state = self._state
        filters = None if where is ANY or where.is_empty else state.vocabulary.encode_filter(where)
        if filters is None and not where.is_empty:
            return [[] for _ in queries]
        bounds = [segment.bounds(queries, filters) for segment in state.segments]
        return [best_items([part.only(index) for part in bounds], query, k) for index, query in enumerate(queries)]


class _GrowingSegment:
    """The arrays of the growing segment, with spare capacity; readers have views of the rows present."""

    def __init__(self, dim: int) -> None:
        self._arrays: list[npt.NDArray[Any]] = []
        self._dim = dim
        self._count = 0
        self.number = Segment(*_no_rows(dim)).number

    def __len__(self) -> int:
        return self._count

    def append(self, rows: Rows, columns: Columns, tombstones: Bools | None) -> Segment:
        """Append `rows` and return the segment. `tombstones`: those of the rows present before."""
        new: list[npt.NDArray[Any]] = [
            rows.vectors,
            rows.photo_ids,
            rows.item_ids,
            columns.prices,
            columns.in_stock,
            *columns.codes.values(),
        ]
        start, end = self._count, self._count + len(rows)
        if not self._arrays or end > len(self._arrays[0]):
            # Copies: readers hold views of the old arrays.
            capacity = max(end, 2 * start, 256)
            old = self._arrays or [array[:0] for array in new]
            self._arrays = [_with_capacity(array, capacity, start) for array in old]
        for array, values in zip(self._arrays, new, strict=True):
            array[start:end] = values
        self._count = end
        vectors, photos, items, prices, in_stock, *codes = (array[:end] for array in self._arrays)
        columns = Columns(dict(zip(columns.codes, codes, strict=True)), prices, in_stock)
        if tombstones is not None:
            tombstones = np.concatenate([tombstones, np.zeros(len(rows), dtype=bool)])
        return Segment(vectors, photos, items, columns, tombstones, number=self.number)


def _no_rows(dim: int) -> tuple[Floats, Ints, Ints, Columns]:
    ids = np.empty(0, dtype=np.int64)
    return np.empty((0, dim), dtype=np.float32), ids, ids, Columns({}, np.empty(0), np.empty(0, dtype=bool))


def _with_capacity(array: npt.NDArray[Any], capacity: int, count: int) -> npt.NDArray[Any]:
    larger: npt.NDArray[Any] = np.empty((capacity, *array.shape[1:]), dtype=array.dtype)
    larger[:count] = array[:count]
    return larger


def _without(segment: Segment, items: Ints, photos: Ints) -> Segment:
    rows = segment.rows_of_photos(photos) if len(photos) else np.empty(0, dtype=np.int64)
    rows = rows[rows >= 0]
    if len(items):
        rows = np.concatenate([rows, segment.rows_of_items(items)])
    return segment.without(rows)


def _deleted_since(before: Segment, now: Segment) -> Ints:
    """Return the photos of a segment that were deleted between two versions of it."""
    if now.tombstones is None:
        return np.empty(0, dtype=np.int64)
    is_new = now.tombstones if before.tombstones is None else now.tombstones & ~before.tombstones
    return now.photo_ids[is_new]


def _segments_to_merge(segments: Sequence[Segment], *, growing: int) -> list[Segment]:
    """Return the segments to merge: without a quantised scan, with many tombstones, or not much larger than those.

    A segment is merged with others of at least half its size together, so that each row is copied only a few times; no
    merged segment has more than `MAX_MERGED_ROWS` rows.
    """
    sealed = [segment for segment in segments if segment.number != growing]
    chosen = [
        segment
        for segment in sealed
        if segment.scan is None or segment.live_count <= (1 - MAX_TOMBSTONES) * len(segment)
    ]
    total = sum(segment.live_count for segment in chosen)
    for segment in sorted((part for part in sealed if chosen and part not in chosen), key=len):
        if len(segment) <= 2 * total and total + segment.live_count <= MAX_MERGED_ROWS:
            chosen.append(segment)
            total += segment.live_count
    return chosen


def best_items(bounds: list[Bounds], query: Floats, k: int) -> list[Hit]:
    """Return the best items of one query from its bounds.

    Scores the rows of the groups with the highest bounds, then those of every other group whose bound reaches the k-th
    score.
    """
    bounds = [part for part in bounds if len(part.first)]
    if not bounds:
        return []
    upper = np.concatenate([part.upper[0] for part in bounds])
    count = max(MIN_RESCORED_GROUPS, 2 * k)
    while True:
        chosen = np.argpartition(upper, len(upper) - count)[-count:] if count < len(upper) else np.arange(len(upper))
        hits = _rescore(bounds, chosen, query, k)
        if len(hits) == k or len(chosen) == len(upper):
            break
        count *= 4
    needed = hits[k - 1].score if len(hits) == k else -np.inf
    possible = (upper >= needed) & (upper > -np.inf)
    rescored = np.zeros(len(upper), dtype=bool)
    rescored[chosen] = True
    return _rescore(bounds, np.flatnonzero(possible), query, k) if (possible & ~rescored).any() else hits


def _rescore(bounds: list[Bounds], groups: Ints, query: Floats, k: int) -> list[Hit]:
    """Return the best items among the rows of some groups by exact scores; groups are numbered across all bounds."""
    groups = np.sort(groups)
    ends = np.cumsum([len(part.first) for part in bounds])
    vectors, items, photos = [], [], []
    for part, start, end in zip(bounds, [0, *ends[:-1]], ends, strict=True):
        low, high = np.searchsorted(groups, [start, end])
        rows = part.rows(groups[low:high] - start)
        vectors.append(part.segment.vectors[rows])
        items.append(part.segment.item_ids[rows])
        photos.append(part.segment.photo_ids[rows])
    return best_hits(np.concatenate(items), np.concatenate(photos), np.concatenate(vectors), query, k)
