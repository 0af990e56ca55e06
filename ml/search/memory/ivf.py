"""Approximate search in memory (IVF) for many millions of rows: it reads the clusters near the query only.

The recall is about 0.995 (`ml.search.memory.clusters.TARGET_RECALL`): an occasional near row is missed.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import ClassVar, Final

import numpy as np

from ml.search.hits import Hit, best_hits, merge_hits
from ml.search.memory.clusters import RECALL_K, IvfClusters
from ml.search.memory.index import ExactIndex, State, best_items
from ml.search.memory.segments import Segment
from ml.search.rows import Ints, Where
from ml.vectors import Floats

IVF_FROM: Final = 200_000
"""Rows of the smallest segment that gets clusters: the exact scan of fewer rows takes two milliseconds."""


class ApproximateIndex(ExactIndex):
    """An `ExactIndex` whose large segments have IVF clusters.

    Only a query without filters reads clusters, and only of large segments. Queries with filters are answered exactly,
    because the matching rows may lie in any cluster; small segments are searched exactly too.
    """

    exact: ClassVar[bool] = False
    ivf_from: int = IVF_FROM

    def compact(self) -> bool:
        done = super().compact()
        with self._compacting:
            for segment in self.state.segments:
                if segment.clusters is None and segment.scan is not None and len(segment) >= self.ivf_from:
                    self._set_clusters(segment.number, IvfClusters.build(segment.vectors, _exact_search(segment)))
                    done = True
        return done

    def _set_clusters(self, number: int, clusters: IvfClusters) -> None:
        with self._writing:
            segments = (part.with_clusters(clusters) if part.number == number else part for part in self.state.segments)
            self._state = replace(self._state, segments=tuple(segments))

    def _search(self, queries: Floats, k: int, where: Where) -> list[list[Hit]]:
        segments = self.state.segments
        clustered = {part: part.clusters for part in segments if part.clusters is not None and part.clusters.probes}
        if not clustered or not where.is_empty:
            return super()._search(queries, k, where)
        others = [segment.bounds(queries, None) for segment in segments if segment not in clustered]
        count = max(RECALL_K, 2 * k)
        nearest = [(part, clusters.nearest(queries, count, part.live_bits)) for part, clusters in clustered.items()]
        results = []
        for index, query in enumerate(queries):
            parts = [_rescore(segment, rows[index], query, k) for segment, rows in nearest]
            if others:
                parts.append(best_items([part.only(index) for part in others], query, k))
            hits = parts[0] if len(parts) == 1 else merge_hits(parts, k)
            # Fewer than k: several photos of one item crowded out others, or the clusters hold too few rows.
            results.append(hits if len(hits) == k else super()._search(query[None], k, where)[0])
        return results


def _rescore(segment: Segment, rows: Ints, query: Floats, k: int) -> list[Hit]:
    """Return the best items among `rows`, ignoring the padding -1, by exact scores."""
    if rows.min() < 0:
        rows = rows[rows >= 0]
    return best_hits(segment.item_ids[rows], segment.photo_ids[rows], segment.vectors[rows], query, k)


def _exact_search(segment: Segment) -> Callable[[Floats, int], Ints]:
    """Return a function (queries (q, d), k) that returns the true best rows (q, k) of a segment."""
    numbers = np.arange(len(segment))
    one_photo_items = Segment(segment.vectors, numbers, numbers, segment.columns, scan=segment.scan)
    index = ExactIndex.restored("", segment.vectors.shape[1], State((one_photo_items,)))

    def search(queries: Floats, k: int) -> Ints:
        results = index.search_many(queries, k, encoder="")
        return np.array([[hit.photo_id for hit in hits] for hits in results], dtype=np.int64)

    return search
