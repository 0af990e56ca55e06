"""Immutable segments of rows with tombstones, and upper bounds of the scores of their rows."""

import itertools
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ml.search.hits import ROUNDING
from ml.search.memory.clusters import IvfClusters
from ml.search.memory.columns import Codes, Columns, EncodedFilter, concatenate_columns
from ml.search.memory.quantized_scan import QuantizedScan
from ml.search.rows import Bools, Ints
from ml.vectors import Floats

BRUTE_FORCE_BELOW = 24
"""If fewer than one in so many rows match the filter, the matching rows are scored one by one."""

SCANNED_FROM = 4096
"""Rows of the smallest segment, or range of a segment, for which the quantised scan pays off."""

NOT_STORED = Path()

_numbers = itertools.count()


@dataclass(frozen=True)
class Bounds:
    """Upper bounds `upper` (q, g) of the scores of groups of rows; rows outside all groups do not match.

    Group g is the rows `first[g]` to `first[g] + size - 1`, as far as they lie between `start` and `stop` and `mask`
    (stop - start), which begins at row `start`, is true for them.
    """

    segment: "Segment"
    upper: Floats
    first: Ints
    size: int
    start: int = 0
    stop: int = 0
    mask: Bools | None = None

    def only(self, query: int) -> "Bounds":
        """Return the bounds of one query."""
        return replace(self, upper=self.upper[query : query + 1])

    def rows(self, groups: Ints) -> Ints:
        """Return the matching, live rows of some groups."""
        rows = self.first[groups]
        if self.size == 1:
            return rows
        rows = (rows[:, None] + np.arange(self.size)).ravel()
        rows = rows[(rows >= self.start) & (rows < self.stop)]
        if self.mask is not None:
            rows = rows[self.mask[rows - self.start]]
        return rows if self.segment.tombstones is None else rows[~self.segment.tombstones[rows]]


@dataclass(frozen=True, eq=False)
class Segment:
    """`vectors` (n, d), `photo_ids` (n), `item_ids` (n), filter `columns`, and `tombstones` (n): the deleted rows.

    `scan`: the quantised first pass of a large segment, which is then sorted by category. `clusters`: for approximate
    searches. `number` and `files`, the folder the segment is stored in, stay the same when rows are deleted.
    """

    vectors: Floats
    photo_ids: Ints
    item_ids: Ints
    columns: Columns
    tombstones: Bools | None = None
    scan: QuantizedScan | None = None
    clusters: IvfClusters | None = None
    number: int = field(default_factory=_numbers.__next__)
    files: Path = NOT_STORED

    def set_files(self, files: Path) -> None:
        """Record the folder that holds everything but the tombstones."""
        object.__setattr__(self, "files", files)

    def __len__(self) -> int:
        return len(self.photo_ids)

    def bounds(self, queries: Floats, filters: EncodedFilter | None) -> Bounds:
        """Bound the scores of the live rows that match `filters`, for each of `queries` (q, d)."""
        start, stop = 0, len(self)
        if filters is not None and self.scan is not None and "category" in filters.codes:
            start, stop = _rows_with_code(self.columns.codes["category"], filters.codes["category"])
        skip = "category" if self.scan is not None else ""
        mask = None if filters is None else self.columns.mask(filters, slice(start, stop), skip=skip)
        is_sparse = mask is not None and np.count_nonzero(mask) * BRUTE_FORCE_BELOW <= stop - start
        if is_sparse or self.scan is None or stop - start < SCANNED_FROM:
            return self._brute_force(queries, start, stop, mask)
        upper, first = self.scan.bounds(queries, start, stop, mask)
        return Bounds(self, upper, first, self.scan.group, start, stop, mask)

    def _brute_force(self, queries: Floats, start: int, stop: int, mask: Bools | None) -> Bounds:
        """Return bounds of groups of one row: the scores themselves, plus the rounding error."""
        if self.tombstones is not None:
            live = ~self.tombstones[start:stop]
            mask = live if mask is None else mask & live
        if mask is None:
            rows, vectors = np.arange(start, stop), self.vectors[start:stop]
        else:
            rows = start + np.flatnonzero(mask)
            vectors = self.vectors[rows]
        return Bounds(self, _dot_products(queries, vectors) + np.float32(ROUNDING), rows, 1)

    def rows_of_photos(self, photo_ids: Ints) -> Ints:
        """Return the live row of each photo (m), -1 for a photo without one."""
        if not len(self):
            return np.full(len(photo_ids), -1)
        # A photo that was deleted and added again has several rows; only the last can be live.
        rows = self.by_photo[np.searchsorted(self._photos_in_order, photo_ids, side="right").clip(min=1) - 1]
        is_live = self.photo_ids[rows] == photo_ids
        if self.tombstones is not None:
            is_live &= ~self.tombstones[rows]
        return np.where(is_live, rows, -1)

    def rows_of_items(self, item_ids: Ints) -> Ints:
        """Return the rows of items, including deleted rows."""
        first = np.searchsorted(self._items_in_order, item_ids, side="left")
        last = np.searchsorted(self._items_in_order, item_ids, side="right")
        return self.by_item[_concatenate_ranges(first, last)]

    def without(self, rows: Ints) -> "Segment":
        """Return the segment with these rows deleted."""
        if not len(rows):
            return self
        tombstones = np.zeros(len(self), dtype=bool) if self.tombstones is None else self.tombstones.copy()
        tombstones[rows] = True
        return self.with_tombstones(tombstones)

    def with_clusters(self, clusters: IvfClusters) -> "Segment":
        """Return the segment with clusters, not stored yet."""
        return replace(self, clusters=clusters, files=NOT_STORED)

    def with_tombstones(self, tombstones: Bools | None) -> "Segment":
        """Return the segment with other tombstones."""
        other = replace(self, tombstones=tombstones)
        for name in ("by_item", "by_photo", "_items_in_order", "_photos_in_order"):  # independent of tombstones
            if name in self.__dict__:
                other.__dict__[name] = self.__dict__[name]
        return other

    @cached_property
    def live_count(self) -> int:
        """How many rows are not deleted."""
        return len(self) - (0 if self.tombstones is None else int(np.count_nonzero(self.tombstones)))

    @cached_property
    def live_bits(self) -> npt.NDArray[np.uint8] | None:
        """A bitmap of the rows that are not deleted; None: all."""
        return None if self.tombstones is None else np.packbits(~self.tombstones, bitorder="little")

    @cached_property
    def by_photo(self) -> Ints:
        """The rows sorted by photo id."""
        return np.argsort(self.photo_ids, kind="stable")

    @cached_property
    def by_item(self) -> Ints:
        """The rows sorted by item id."""
        return np.argsort(self.item_ids, kind="stable")

    @cached_property
    def _items_in_order(self) -> Ints:
        return self.item_ids[self.by_item]

    @cached_property
    def _photos_in_order(self) -> Ints:
        return self.photo_ids[self.by_photo]


def merge_segments(parts: "list[Segment]") -> Segment:
    """Return one segment of the live rows of all parts, sorted by category and with a quantised scan."""
    live = [np.arange(len(part)) if part.tombstones is None else np.flatnonzero(~part.tombstones) for part in parts]
    columns = concatenate_columns(part.columns.take(rows) for part, rows in zip(parts, live, strict=True))
    photos = np.concatenate([part.photo_ids[rows] for part, rows in zip(parts, live, strict=True)])
    items = np.concatenate([part.item_ids[rows] for part, rows in zip(parts, live, strict=True)])
    order = np.argsort(columns.codes["category"], kind="stable")
    target = np.empty_like(order)
    target[order] = np.arange(len(order))
    vectors = np.empty((len(order), parts[0].vectors.shape[1]), dtype=np.float32)
    for part, rows, targets in zip(
        parts, live, np.split(target, np.cumsum([len(rows) for rows in live])), strict=False
    ):
        vectors[targets] = part.vectors[rows]
    columns = columns.take(order)
    scan = QuantizedScan.build(vectors, columns.codes["category"])
    return Segment(vectors, photos[order], items[order], columns, scan=scan)


def _dot_products(queries: Floats, vectors: Floats) -> Floats:
    """Return the dot products (q, n). One query avoids the matrix product, whose threads cost more than they gain."""
    if len(queries) == 1:
        scores: Floats = np.einsum("nd,d->n", vectors, queries[0])
        return scores[None]
    return queries @ vectors.T


def _rows_with_code(ordered: Codes, code: int) -> tuple[int, int]:
    """Return the range of rows with `code` in a sorted column."""
    low, high = np.searchsorted(ordered, np.array([code, code + 1], dtype=ordered.dtype))
    return int(low), int(high)


def _concatenate_ranges(first: Ints, last: Ints) -> npt.NDArray[np.int64]:
    """Return first[0], first[0] + 1, …, last[0] - 1, first[1], …"""
    lengths = last - first
    starts = np.repeat(first - (np.cumsum(lengths) - lengths), lengths)
    return starts + np.arange(lengths.sum())
