"""The exact search in memory: the answer of a comparison with every vector, without reading all of every vector."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from ml.search.hits import Hit, UnknownPhotoError, best_hits
from ml.search.interface import Position, SearchIndex
from ml.search.memory.columns import Facts, Vocabulary
from ml.search.memory.segments import Bounds, Segment, joined
from ml.search.rows import ANY, Bools, Ints, Rows, Where, as_ids
from ml.vectors import Floats

SEALED_AT: Final = 16_384
"""Rows of a full last segment. One pass over the vectors of so many takes about half a millisecond."""

WORN: Final = 0.25
"""The share of a segment's rows that are gone from which on it is made anew."""

LARGEST: Final = 2_000_000
"""Rows of a segment that is joined with no other: joining needs a bounded memory, however many rows there are."""

LOOKED_AT: Final = 32
"""Groups of rows looked at in full by the first attempt, at least: items may have several photos."""


@dataclass(frozen=True)
class State:
    """What a search works on. The last segment may be one that still grows; readers see the rows it had."""

    segments: tuple[Segment, ...] = ()
    position: Position = field(default_factory=dict)
    vocabulary: Vocabulary = field(default_factory=Vocabulary)


class ExactIndex(SearchIndex):
    """The rows are in segments that never change, and a change is a new list of segments, published by one assignment.

    Each search works on the list it took at its start. New rows come into a last, small segment; when that is full
    another is begun. `compact` makes few large ones of them, which are searched much faster.
    """

    exact = True

    def __init__(self, encoder: str, dim: int, sealed_at: int = SEALED_AT) -> None:
        super().__init__(encoder, dim)
        self._sealed_at = sealed_at
        self._writing, self._compacting = threading.Lock(), threading.Lock()
        self._begin(State())

    def _begin(self, state: State) -> None:
        self._state = state
        self._tail = _Tail(self.dim)

    @classmethod
    def restored(cls, encoder: str, dim: int, state: State) -> Self:
        """An index as it was stored."""
        index = cls(encoder, dim)
        index._begin(state)
        return index

    @property
    def state(self) -> State:
        """The segments and the position, as of one moment. The vocabulary may know more words than they need."""
        return self._state

    def __len__(self) -> int:
        return sum(segment.living for segment in self._state.segments)

    @property
    def position(self) -> Position:
        return self._state.position

    def vectors_of(self, photo_ids: Sequence[int]) -> Floats:
        wanted = as_ids(photo_ids)
        vectors, missing = np.empty((len(wanted), self.dim), dtype=np.float32), np.ones(len(wanted), dtype=bool)
        for segment in self._state.segments:
            rows = segment.rows_of_photos(wanted)
            known = rows >= 0
            vectors[known] = segment.vectors[rows[known]]
            missing &= ~known
        if missing.any():
            raise UnknownPhotoError(f"Photo {wanted[missing][0]} is not in the index.")
        return vectors

    def contains(self, photo_ids: npt.ArrayLike) -> Bools:
        wanted = as_ids(photo_ids)
        known = np.zeros(len(wanted), dtype=bool)
        for segment in self._state.segments:
            known |= segment.rows_of_photos(wanted) >= 0
        return known

    def clear(self) -> None:
        with self._writing:
            self._begin(State())

    def compact(self) -> bool:
        with self._compacting:
            state = self._state
            chosen = _worth_joining(state.segments, growing=self._tail.number)
            if not chosen:
                return False
            made = self._joined(chosen)
            with self._writing:
                self._put_in_place(chosen, made)
            return True

    def _joined(self, parts: list[Segment]) -> Segment:
        return joined(parts)

    def _put_in_place(self, parts: list[Segment], made: Segment) -> None:
        """`made` instead of the segments it was made of, without what has gone from those meanwhile."""
        then = {part.number: part for part in parts}
        now = [segment for segment in self._state.segments if segment.number in then]
        gone = [_gone_since(then[segment.number], segment) for segment in now]
        gone += [part.photo_ids for part in parts if part.number not in {segment.number for segment in now}]
        rows = made.rows_of_photos(np.concatenate([*gone, np.empty(0, dtype=np.int64)]))
        made = made.without(rows[rows >= 0])
        kept = [segment for segment in self._state.segments if segment.number not in then]
        self._state = replace(self._state, segments=tuple(part for part in (made, *kept) if self._stays(part)))

    def _stays(self, segment: Segment) -> bool:
        return bool(segment.living) or segment.number == self._tail.number

    def _update(self, rows: Rows, items: Ints, photos: Ints, position: Position | None) -> None:
        with self._writing:
            replaced = np.union1d(photos, rows.photo_ids)
            old = [_without(segment, items, replaced) for segment in self._state.segments]
            old = [segment for segment in old if self._stays(segment)]
            if len(rows):
                facts = self._state.vocabulary.encode(rows)
                dead = next((segment.dead for segment in old if segment.number == self._tail.number), None)
                old = [segment for segment in old if segment.number != self._tail.number]
                old.append(self._tail.extended(rows, facts, dead))
            if len(self._tail) >= self._sealed_at:
                self._tail = _Tail(self.dim)
            position = self._state.position if position is None else dict(position)
            self._state = replace(self._state, segments=tuple(old), position=position)

    def _search(self, queries: Floats, k: int, where: Where) -> list[list[Hit]]:
        state = self._state
        asked = None if where is ANY or where.asks_nothing else state.vocabulary.asked(where)
        if asked is None and not where.asks_nothing:
            return [[] for _ in queries]
        bounds = [segment.bounds(queries, asked) for segment in state.segments]
        return [best_items([part.only(place) for part in bounds], query, k) for place, query in enumerate(queries)]


class _Tail:
    """The last, growing segment's arrays, with room for more; readers have views of the rows that are there."""

    def __init__(self, dim: int) -> None:
        self._arrays: list[npt.NDArray[Any]] = []
        self._dim = dim
        self._count = 0
        self.number = Segment(*_nothing(dim)).number

    def __len__(self) -> int:
        return self._count

    def extended(self, rows: Rows, facts: Facts, dead: Bools | None) -> Segment:
        """The segment with `rows` after those that it has. `dead`: which of those are gone."""
        codes = facts.codes.values()
        new: list[npt.NDArray[Any]] = [
            rows.vectors,
            rows.photo_ids,
            rows.item_ids,
            facts.prices,
            facts.in_stock,
            *codes,
        ]
        start, end = self._count, self._count + len(rows)
        if not self._arrays or end > len(self._arrays[0]):
            # The old arrays stay as they are for the readers whose views look into them.
            room = max(end, 2 * start, 256)
            old = self._arrays or [array[:0] for array in new]
            self._arrays = [_grown(array, room, start) for array in old]
        for array, values in zip(self._arrays, new, strict=True):
            array[start:end] = values
        self._count = end
        vectors, photos, items, prices, in_stock, *words = (array[:end] for array in self._arrays)
        columns = Facts(dict(zip(facts.codes, words, strict=True)), prices, in_stock)
        living = None if dead is None else np.concatenate([dead, np.zeros(len(rows), dtype=bool)])
        return Segment(vectors, photos, items, columns, living, number=self.number)


def _nothing(dim: int) -> tuple[Floats, Ints, Ints, Facts]:
    ids = np.empty(0, dtype=np.int64)
    return np.empty((0, dim), dtype=np.float32), ids, ids, Facts({}, np.empty(0), np.empty(0, dtype=bool))


def _grown(array: npt.NDArray[Any], room: int, count: int) -> npt.NDArray[Any]:
    larger: npt.NDArray[Any] = np.empty((room, *array.shape[1:]), dtype=array.dtype)
    larger[:count] = array[:count]
    return larger


def _without(segment: Segment, items: Ints, photos: Ints) -> Segment:
    rows = segment.rows_of_photos(photos) if len(photos) else np.empty(0, dtype=np.int64)
    rows = rows[rows >= 0]
    if len(items):
        rows = np.concatenate([rows, segment.rows_of_items(items)])
    return segment.without(rows)


def _gone_since(then: Segment, now: Segment) -> Ints:
    """The photos that were in a segment then and are not any more."""
    if now.dead is None:
        return np.empty(0, dtype=np.int64)
    return now.photo_ids[now.dead if then.dead is None else now.dead & ~then.dead]


def _worth_joining(segments: Sequence[Segment], *, growing: int) -> list[Segment]:
    """The segments that should become one: all that are not ready for fast searches, worn ones, and those not larger.

    A segment is joined with what is at least half as large, so each row is copied a few times at most; and none grows
    beyond `LARGEST`.
    """
    full = [segment for segment in segments if segment.number != growing]
    chosen = [segment for segment in full if segment.scan is None or segment.living <= (1 - WORN) * len(segment)]
    together = sum(segment.living for segment in chosen)
    for segment in sorted((one for one in full if chosen and one not in chosen), key=len):
        if len(segment) <= 2 * together and together + segment.living <= LARGEST:
            chosen.append(segment)
            together += segment.living
    return chosen


def best_items(bounds: list[Bounds], query: Floats, k: int) -> list[Hit]:
    """The answer to one query, of which the bounds are.

    Looks at the rows of the groups with the highest bounds, and at those of all others that may hold something nearer.
    """
    bounds = [part for part in bounds if len(part.first)]
    if not bounds:
        return []
    upper = np.concatenate([part.upper[0] for part in bounds])
    count = max(LOOKED_AT, 2 * k)
    while True:
        chosen = np.argpartition(upper, len(upper) - count)[-count:] if count < len(upper) else np.arange(len(upper))
        hits = _hits_of(bounds, chosen, query, k)
        if len(hits) == k or len(chosen) == len(upper):
            break
        count *= 4
    needed = hits[k - 1].score if len(hits) == k else -np.inf
    unsure = (upper >= needed) & (upper > -np.inf)
    looked_at = np.zeros(len(upper), dtype=bool)
    looked_at[chosen] = True
    return _hits_of(bounds, np.flatnonzero(unsure), query, k) if (unsure & ~looked_at).any() else hits


def _hits_of(bounds: list[Bounds], groups: Ints, query: Floats, k: int) -> list[Hit]:
    """The best items among the rows of some groups, which are numbered through all bounds."""
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
