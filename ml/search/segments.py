"""Rows of an index that never change: which of them are nearest, and how near all others can be at most.

A large segment is scanned in two steps. The first reads its vectors as float16, in half the bytes, which is what a scan
waits for; padded with zeros to a multiple of eight numbers, which is what lets it use the processor's vector units. The
second reads the few rows that can be among the nearest in full. Nothing is lost: by Cauchy and Schwarz, a rounded score
is off by no more than the length of what rounding took from the vector, and the largest of these is known.
"""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from ml.vectors import Floats

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

ROUNDED_AT_A_TIME = 16_384

ROUNDING = 1e-5
"""More than the error of a float32 dot product of unit vectors, so that no true answer is dropped before re-scoring."""

FEW = 16
"""Where fewer than one in so many rows may answer, they are looked at one by one."""

NOTHING = -np.inf


@dataclass(frozen=True)
class Near:
    """`rows` of a segment, and `beyond`: what no other row's score exceeds, `NOTHING` where there is no other."""

    rows: Ints
    beyond: float


@dataclass(frozen=True)
class Segment:
    """`vectors` (n, d), `photo_ids` (n), `item_ids` (n), and which of the rows are gone, `dead` (n) or None."""

    vectors: Floats
    photo_ids: Ints
    item_ids: Ints
    dead: Bools | None = None
    scan: "HalfScan | None" = field(default=None, compare=False)

    def __len__(self) -> int:
        return len(self.photo_ids)

    def nearest(self, query: Floats, count: int, allowed: Ints | None) -> Near:
        """Return at least the `count` rows nearest to `query` (d), or all there are.

        `allowed`: the ids of the items that may answer, sorted; None means any.
        """
        if allowed is not None:
            return self._nearest_allowed(query, count, allowed)
        if self.scan is None:
            scores = self.vectors @ query
            return _nearest_of(scores if self._living is None else scores[self._living], count, self._living)
        return self.scan.nearest(query, count, None if self.dead is None else ~self.dead)

    def _nearest_allowed(self, query: Floats, count: int, allowed: Ints) -> Near:
        first = np.searchsorted(self._items_in_order, allowed, side="left")
        last = np.searchsorted(self._items_in_order, allowed, side="right")
        if (last - first).sum() * FEW <= len(self) or self.scan is None:
            rows = self._by_item[_ranges(first, last)]
            rows = rows if self.dead is None else rows[~self.dead[rows]]
            return _nearest_of(self.vectors[rows] @ query, count, rows)
        mask = np.zeros(len(self), dtype=bool)
        mask[self._by_item[_ranges(first, last)]] = True
        return self.scan.nearest(query, count, mask if self.dead is None else mask & ~self.dead)

    def rows_of_photos(self, photo_ids: Ints) -> Ints:
        """Return the row of each living photo (m), -1 where the segment has none."""
        places = np.searchsorted(self._photos_in_order, photo_ids).clip(max=max(len(self) - 1, 0))
        if not len(self):
            return np.full(len(photo_ids), -1)
        rows = self._by_photo[places]
        known = self.photo_ids[rows] == photo_ids
        if self.dead is not None:
            known &= ~self.dead[rows]
        return np.where(known, rows, -1)

    def without(self, rows: Ints) -> "Segment":
        """Return the segment with these rows gone."""
        dead = np.zeros(len(self), dtype=bool) if self.dead is None else self.dead.copy()
        dead[rows] = True
        return Segment(self.vectors, self.photo_ids, self.item_ids, dead, self.scan)

    @cached_property
    def living(self) -> int:
        """How many rows are not gone."""
        return len(self) - (0 if self.dead is None else int(self.dead.sum()))

    @cached_property
    def _living(self) -> Ints | None:
        return None if self.dead is None else np.flatnonzero(~self.dead)

    @cached_property
    def _by_item(self) -> Ints:
        return np.argsort(self.item_ids, kind="stable")

    @cached_property
    def _items_in_order(self) -> Ints:
        return self.item_ids[self._by_item]

    @cached_property
    def _by_photo(self) -> Ints:
        return np.argsort(self.photo_ids, kind="stable")

    @cached_property
    def _photos_in_order(self) -> Ints:
        return self.photo_ids[self._by_photo]


def joined(parts: "list[Segment]", *, scanned: bool) -> Segment:
    """Return one segment of the living rows of all parts. `scanned`: ready for a fast scan, for large segments."""
    kept = [slice(None) if part.dead is None else ~part.dead for part in parts]
    vectors = np.concatenate([part.vectors[keep] for part, keep in zip(parts, kept, strict=True)])
    photos = np.concatenate([part.photo_ids[keep] for part, keep in zip(parts, kept, strict=True)])
    items = np.concatenate([part.item_ids[keep] for part, keep in zip(parts, kept, strict=True)])
    return Segment(vectors, photos, items, None, HalfScan(vectors) if scanned else None)


class HalfScan:
    """The first step: unit vectors (n, d) rounded to float16."""

    def __init__(self, vectors: Floats) -> None:
        import faiss

        self._faiss: Any = faiss
        self._dim = vectors.shape[1]
        self._width = -(-self._dim // 8) * 8
        kind = faiss.ScalarQuantizer.QT_fp16
        self._codes: Any = faiss.IndexScalarQuantizer(self._width, kind, faiss.METRIC_INNER_PRODUCT)
        longest = 0.0
        for start in range(0, len(vectors), ROUNDED_AT_A_TIME):
            rows = self._padded(vectors[start : start + ROUNDED_AT_A_TIME])
            self._codes.add(rows)
            lost = rows - rows.astype(np.float16).astype(np.float32)
            longest = max(longest, float(np.linalg.norm(lost, axis=1).max()))
        self._error = longest + ROUNDING

    def nearest(self, query: Floats, count: int, mask: Bools | None) -> Near:
        """As `Segment.nearest`, among the rows of `mask` (n)."""
        count = min(count, self._codes.ntotal)
        options = None
        if mask is not None:
            bits = np.packbits(mask, bitorder="little")
            options = self._faiss.SearchParameters(sel=self._faiss.IDSelectorBitmap(bits))
        asked, pointer = self._padded(query[None]), self._faiss.swig_ptr
        scores, rows = np.empty(count, dtype=np.float32), np.empty(count, dtype=np.int64)
        # Not `search`: pytorch-metric-learning, where it is imported, puts one in its place that takes no options.
        self._codes.search_c(1, pointer(asked), count, pointer(scores), pointer(rows), options)
        found = rows >= 0
        if not found.all():  # the mask has fewer
            return Near(rows[found], NOTHING)
        beyond = NOTHING if count == self._codes.ntotal else float(scores[-1]) + self._error
        return Near(rows, beyond)

    def _padded(self, rows: Floats) -> Floats:
        wide = np.zeros((len(rows), self._width), dtype=np.float32)
        wide[:, : self._dim] = rows
        return wide


def _nearest_of(scores: Floats, count: int, rows: Ints | None) -> Near:
    """`rows`: which rows the scores are of; None: row i is number i."""
    if count >= len(scores):
        places, beyond = np.arange(len(scores)), NOTHING
    else:
        border = np.partition(scores, len(scores) - count)[len(scores) - count]
        places, beyond = np.flatnonzero(scores >= border), float(border) + ROUNDING
    return Near(places if rows is None else rows[places], beyond)


def _ranges(first: Ints, last: Ints) -> Ints:
    """first[0], first[0] + 1, …, last[0] - 1, first[1], …"""
    lengths = last - first
    starts = np.repeat(first - (np.cumsum(lengths) - lengths), lengths)
    return starts + np.arange(lengths.sum())
