"""Rows of an index that never change, which of them are gone, and upper bounds of how near they can be to a query."""

import itertools
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ml.search.hits import ROUNDING
from ml.search.memory.clusters import Cells
from ml.search.memory.columns import Asked, Codes, Facts, joined_facts
from ml.search.memory.quantized_scan import Scan
from ml.search.rows import Bools, Ints
from ml.vectors import Floats

FEW = 24
"""Where fewer than one in so many rows may answer, they are looked at one by one."""

SCANNED_FROM = 4096
"""Rows of the smallest segment, or range of one, that is scanned in two steps."""

NOWHERE = Path()

_numbers = itertools.count()


@dataclass(frozen=True)
class Bounds:
    """Upper bounds `upper` (q, g) of the scores of groups of rows; no row outside of the groups may answer.

    Group g is the rows `first[g]` to `first[g] + size - 1`, of which only those count that `may_answer` (by row) names.
    """

    segment: "Segment"
    upper: Floats
    first: Ints
    size: int
    start: int = 0
    stop: int = 0
    may_answer: Bools | None = None  # (stop - start), of the rows from start on

    def only(self, query: int) -> "Bounds":
        """Those of one of the queries."""
        return replace(self, upper=self.upper[query : query + 1])

    def rows(self, groups: Ints) -> Ints:
        """The rows of some groups that may answer."""
        rows = self.first[groups]
        if self.size == 1:
            return rows
        rows = (rows[:, None] + np.arange(self.size)).ravel()
        rows = rows[(rows >= self.start) & (rows < self.stop)]
        if self.may_answer is not None:
            rows = rows[self.may_answer[rows - self.start]]
        return rows if self.segment.dead is None else rows[~self.segment.dead[rows]]


@dataclass(frozen=True, eq=False)
class Segment:
    """`vectors` (n, d), `photo_ids` (n), `item_ids` (n), their facts, and which of the rows are gone, `dead` (n).

    `scan`: what makes searches of a large segment fast; such a segment is in the order of its categories. `cells`: for
    searches that may miss a little. `number` and `files`, the folder it is stored in, stay the same when rows go.
    """

    vectors: Floats
    photo_ids: Ints
    item_ids: Ints
    facts: Facts
    dead: Bools | None = None
    scan: Scan | None = None
    cells: Cells | None = None
    number: int = field(default_factory=_numbers.__next__)
    files: Path = NOWHERE

    def stored_at(self, files: Path) -> None:
        """Remember where all but `dead` is kept."""
        object.__setattr__(self, "files", files)

    def __len__(self) -> int:
        return len(self.photo_ids)

    def bounds(self, queries: Floats, asked: Asked | None) -> Bounds:
        """Bound the scores of the rows that are not gone and fit `asked`, for each of `queries` (q, d)."""
        start, stop = 0, len(self)
        if asked is not None and self.scan is not None and "category" in asked.codes:
            start, stop = _range_of(self.facts.codes["category"], asked.codes["category"])
        but = "category" if self.scan is not None else ""
        fits = None if asked is None else self.facts.fitting(asked, slice(start, stop), but=but)
        few = fits is not None and np.count_nonzero(fits) * FEW <= stop - start
        if few or self.scan is None or stop - start < SCANNED_FROM:
            return self._one_by_one(queries, start, stop, fits)
        upper, first = self.scan.bounds(queries, start, stop, fits)
        return Bounds(self, upper, first, self.scan.group, start, stop, fits)

    def _one_by_one(self, queries: Floats, start: int, stop: int, fits: Bools | None) -> Bounds:
        if self.dead is not None:
            living = ~self.dead[start:stop]
            fits = living if fits is None else fits & living
        if fits is None:
            rows, vectors = np.arange(start, stop), self.vectors[start:stop]
        else:
            rows = start + np.flatnonzero(fits)
            vectors = self.vectors[rows]
        return Bounds(self, _scores(queries, vectors) + np.float32(ROUNDING), rows, 1)

    def rows_of_photos(self, photo_ids: Ints) -> Ints:
        """Return the row of each living photo (m), -1 where the segment has none."""
        if not len(self):
            return np.full(len(photo_ids), -1)
        # A photo that went and came again has several rows; only the last of them can be living.
        rows = self.by_photo[np.searchsorted(self._photos_in_order, photo_ids, side="right").clip(min=1) - 1]
        known = self.photo_ids[rows] == photo_ids
        if self.dead is not None:
            known &= ~self.dead[rows]
        return np.where(known, rows, -1)

    def rows_of_items(self, item_ids: Ints) -> Ints:
        """Return the rows of items, those that are gone too."""
        first = np.searchsorted(self._items_in_order, item_ids, side="left")
        last = np.searchsorted(self._items_in_order, item_ids, side="right")
        return self.by_item[_ranges(first, last)]

    def without(self, rows: Ints) -> "Segment":
        """Return the segment with these rows gone."""
        if not len(rows):
            return self
        dead = np.zeros(len(self), dtype=bool) if self.dead is None else self.dead.copy()
        dead[rows] = True
        return self.buried(dead)

    def with_cells(self, cells: Cells) -> "Segment":
        """Return the segment with cells, stored nowhere yet."""
        return replace(self, cells=cells, files=NOWHERE)

    def buried(self, dead: Bools | None) -> "Segment":
        """Return the segment with other rows gone than now."""
        other = replace(self, dead=dead)
        for name in ("by_item", "by_photo", "_items_in_order", "_photos_in_order"):  # the same, whatever is gone
            if name in self.__dict__:
                other.__dict__[name] = self.__dict__[name]
        return other

    @cached_property
    def living(self) -> int:
        """How many rows are not gone."""
        return len(self) - (0 if self.dead is None else int(np.count_nonzero(self.dead)))

    @cached_property
    def living_bits(self) -> npt.NDArray[np.uint8] | None:
        """The rows that are not gone, as bits; None: all."""
        return None if self.dead is None else np.packbits(~self.dead, bitorder="little")

    @cached_property
    def by_photo(self) -> Ints:
        """The rows in the order of their photos."""
        return np.argsort(self.photo_ids, kind="stable")

    @cached_property
    def by_item(self) -> Ints:
        """The rows in the order of their items."""
        return np.argsort(self.item_ids, kind="stable")

    @cached_property
    def _items_in_order(self) -> Ints:
        return self.item_ids[self.by_item]

    @cached_property
    def _photos_in_order(self) -> Ints:
        return self.photo_ids[self.by_photo]


def joined(parts: "list[Segment]") -> Segment:
    """Return one segment of the living rows of all parts, ready for fast searches: in the order of their categories."""
    kept = [np.arange(len(part)) if part.dead is None else np.flatnonzero(~part.dead) for part in parts]
    facts = joined_facts(part.facts.taken(rows) for part, rows in zip(parts, kept, strict=True))
    photos = np.concatenate([part.photo_ids[rows] for part, rows in zip(parts, kept, strict=True)])
    items = np.concatenate([part.item_ids[rows] for part, rows in zip(parts, kept, strict=True)])
    order = np.argsort(facts.codes["category"], kind="stable")
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    vectors = np.empty((len(order), parts[0].vectors.shape[1]), dtype=np.float32)
    for part, rows, places in zip(parts, kept, np.split(place, np.cumsum([len(rows) for rows in kept])), strict=False):
        vectors[places] = part.vectors[rows]
    facts = facts.taken(order)
    return Segment(vectors, photos[order], items[order], facts, scan=Scan.of(vectors, facts.codes["category"]))


def _scores(queries: Floats, vectors: Floats) -> Floats:
    """The products (q, n). A matrix product's threads wait for each other, which costs more than it gains for one."""
    if len(queries) == 1:
        alone: Floats = np.einsum("nd,d->n", vectors, queries[0])
        return alone[None]
    return queries @ vectors.T


def _range_of(ordered: Codes, code: int) -> tuple[int, int]:
    low, high = np.searchsorted(ordered, np.array([code, code + 1], dtype=ordered.dtype))
    return int(low), int(high)


def _ranges(first: Ints, last: Ints) -> npt.NDArray[np.int64]:
    """first[0], first[0] + 1, …, last[0] - 1, first[1], …"""
    lengths = last - first
    starts = np.repeat(first - (np.cumsum(lengths) - lengths), lengths)
    return starts + np.arange(lengths.sum())
