"""The search of many millions in memory: most of the rows are not looked at, so now and then a near one is missed."""

from collections.abc import Callable
from dataclasses import replace
from typing import ClassVar, Final

import numpy as np

from ml.search.hits import Hit, best_hits, merged
from ml.search.memory.clusters import BEST, Cells
from ml.search.memory.index import ExactIndex, State, best_items
from ml.search.memory.segments import Segment
from ml.search.rows import Ints, Where
from ml.vectors import Floats

CELLS_FROM: Final = 200_000
"""Rows of the smallest segment that gets cells: the scan of fewer takes two milliseconds."""


class ApproximateIndex(ExactIndex):
    """An `ExactIndex` whose large segments have cells.

    Questions with filters are answered exactly, as what fits may lie anywhere; so are those to segments that are not
    large. Only a question to all of a large segment reads the cells nearest to it.
    """

    exact: ClassVar[bool] = False
    cells_from: int = CELLS_FROM

    def compact(self) -> bool:
        done = super().compact()
        with self._compacting:
            for segment in self.state.segments:
                if segment.cells is None and segment.scan is not None and len(segment) >= self.cells_from:
                    self._give(segment.number, Cells.of(segment.vectors, _right_rows_of(segment)))
                    done = True
        return done

    def _give(self, number: int, cells: Cells) -> None:
        with self._writing:
            segments = (one.with_cells(cells) if one.number == number else one for one in self.state.segments)
            self._state = replace(self._state, segments=tuple(segments))

    def _search(self, queries: Floats, k: int, where: Where) -> list[list[Hit]]:
        segments = self.state.segments
        celled = {segment: segment.cells for segment in segments if segment.cells is not None and segment.cells.probes}
        if not celled or not where.asks_nothing:
            return super()._search(queries, k, where)
        others = [segment.bounds(queries, None) for segment in segments if segment not in celled]
        count = max(BEST, 2 * k)
        near = [(part, cells.nearest(queries, count, part.living_bits)) for part, cells in celled.items()]
        answers = []
        for place, query in enumerate(queries):
            found = [_hits_among(segment, rows[place], query, k) for segment, rows in near]
            if others:
                found.append(best_items([part.only(place) for part in others], query, k))
            hits = found[0] if len(found) == 1 else merged(found, k)
            # Fewer: an item's photos took the places of others, or the cells hold too few rows.
            answers.append(hits if len(hits) == k else super()._search(query[None], k, where)[0])
        return answers


def _hits_among(segment: Segment, rows: Ints, query: Floats, k: int) -> list[Hit]:
    """The best items among some rows, of which -1 is none."""
    if rows.min() < 0:
        rows = rows[rows >= 0]
    return best_hits(segment.item_ids[rows], segment.photo_ids[rows], segment.vectors[rows], query, k)


def _right_rows_of(segment: Segment) -> Callable[[Floats, int], Ints]:
    """A function that knows the best rows of a segment, by the exact scan."""
    numbers = np.arange(len(segment))
    alone = Segment(segment.vectors, numbers, numbers, segment.facts, scan=segment.scan)
    index = ExactIndex.restored("", segment.vectors.shape[1], State((alone,)))

    def right(queries: Floats, k: int) -> Ints:
        answers = index.search_many(queries, k, encoder="")
        return np.array([[hit.photo_id for hit in hits] for hits in answers], dtype=np.int64)

    return right
