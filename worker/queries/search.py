"""Similarity search: rank the items nearest to a query's vector, with filters and diversity (MMR)."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from catalog.errors import IllegalTransition
from catalog.models import Embedding, ItemPhoto, SimilarityQuery
from ml.search import ANY, Hit, SearchIndex, UnknownPhotoError, Where, diversify
from ml.search.hits import best_hits, merge_hits
from worker.index.sync import CatalogIndex

NEAREST = 10  # items from which the attributes of the garment are guessed
ATTRIBUTES = ("category", "gender", "colour", "brand", "collection")

_DIVERSITY_POOL = 5  # times `k` items, from which diversity chooses `k`
_ATTEMPTS: Final = 3  # of a diverse answer, while other processes remove photos from the index

Attributes = dict[str, str]
"""An item's values of `ATTRIBUTES`; empty if unknown."""

PhotoRow = tuple[list[float] | None, dict[str, Any]]
"""A photo's colour (CIELAB), and its item's values of `_COLUMNS`."""


@dataclass(frozen=True)
class SearchResult:
    """The hits of a query, and the data that explain them."""

    hits: list[Hit]
    nearest: list[Hit]  # the nearest items without the filters
    items: dict[int, Attributes]  # by item id
    colours: dict[int, list[float] | None] = field(default_factory=dict)  # by photo id of a hit; None if unknown
    last_vector: int = 0  # the id of the newest vector in the index


def find_similar_items(query: SimilarityQuery, index: CatalogIndex, at: datetime | None = None) -> SearchResult:
    """Answer an embedded query: at most `k` findable items, best first, each once.

    The index applies the filters. The rows of its hits are checked as well, so a deleted or hidden item is missing
    from the very next answer. `at`: an earlier time; items deleted since then are found.
    """
    if query.vector is None:
        raise IllegalTransition(f"{query} has no vector yet and cannot be searched")
    for _ in range(_ATTEMPTS):
        search = _Search(query, index, at)
        try:
            return search.answer()
        except UnknownPhotoError:  # a photo was removed from the index between two calls
            continue
    return search.answer(is_diverse=False)


@dataclass
class _Pool:
    """Hits so far of a search for `wanted` items that match `where`; `limit` is the `k` of the next index search."""

    where: Where
    wanted: int
    limit: int
    hits: list[Hit] = field(default_factory=list)
    is_full: bool = False


class _Search:
    """One search, with a cache of the rows that it has read."""

    def __init__(self, query: SimilarityQuery, index: CatalogIndex, at: datetime | None) -> None:
        self._query, self._index, self._at = query, index, at
        self._vectors: SearchIndex = index.refresh()
        self._last_vector = index.last_vector
        self._vector = np.frombuffer(bytes(query.vector or b""), dtype="<f4")
        self._rows: dict[int, PhotoRow | None] = {}  # by photo id; None if the photo was deleted

    def answer(self, *, is_diverse: bool = True) -> SearchResult:
        query, where = self._query, Where(**self._query.filters)
        wanted = query.k * _DIVERSITY_POOL if query.diversity else query.k
        extra = 1 if query.item_id else 0  # the query's own item, which is dropped
        nearest = _Pool(ANY, NEAREST, NEAREST + extra)
        pool = _Pool(where, wanted, wanted + extra)
        if where.is_empty:
            pool = nearest = _Pool(ANY, max(wanted, NEAREST), max(wanted, NEAREST) + extra)
        self._fill([pool] if pool is nearest else [pool, nearest])
        hits = [hit for hit in pool.hits[:wanted] if query.min_score is None or hit.score >= query.min_score]
        if query.diversity and is_diverse:
            hits = diversify(hits, self._vectors_of(hits), query.k, query.diversity)
        return self._result(hits[: query.k], nearest.hits[:NEAREST])

    def _fill(self, pools: list[_Pool]) -> None:
        """Search the index until each pool has enough items, or the index has no more."""
        encoder = self._query.answering_encoder.name
        while open_pools := [pool for pool in pools if not pool.is_full]:
            for pool in open_pools:
                hits = self._vectors.search(self._vector, pool.limit, encoder=encoder, where=pool.where)
                pool.hits = self._replace_deleted_photos(hits)
            deleted = self._read_rows(hit.photo_id for pool in open_pools for hit in pool.hits)
            for pool in open_pools:
                self._check(pool, deleted)

    def _replace_deleted_photos(self, hits: list[Hit]) -> list[Hit]:
        """Replace hits whose photo was deleted by the item's best other photo; a shared index may lag behind."""
        stale = {hit.item_id for hit in hits if self._rows.get(hit.photo_id, ()) is None}
        rows = Embedding.objects.filter(encoder=self._query.answering_encoder, item__in=stale)
        if not stale or not (stored := list(rows.order_by().values_list("item_id", "photo_id", "vector"))):
            return hits
        items, photos, vectors = zip(*stored, strict=True)
        matrix = np.frombuffer(b"".join(map(bytes, vectors)), dtype="<f4").reshape(len(stored), -1)
        others = best_hits(np.array(items), np.array(photos), matrix, self._vector, len(stale))
        replaced = {hit.item_id for hit in others}
        return merge_hits([[hit for hit in hits if hit.item_id not in replaced], others], len(hits))

    def _read_rows(self, photos: Iterable[int]) -> set[int]:
        """Read the rows of photos that were not read yet; return the deleted photos."""
        if not (new := set(photos) - self._rows.keys()):
            return set()
        rows = ItemPhoto.objects.filter(pk__in=new).order_by().values_list("pk", "colour_lab", *_COLUMNS)
        self._rows |= dict.fromkeys(new) | {pk: (colour, _columns(values)) for pk, colour, *values in rows}
        if deleted := {photo for photo in new if self._rows[photo] is None}:
            self._index.forget(deleted)
        return deleted

    def _check(self, pool: _Pool, deleted: set[int]) -> None:
        """Drop the hits that may not be shown; if too few remain, double the limit of the next search."""
        if any(hit.photo_id in deleted for hit in pool.hits):
            pool.limit *= 2
            return  # their items may have other photos
        count, pool.hits = len(pool.hits), [hit for hit in pool.hits if self._may_show(hit, pool.where)]
        pool.is_full = len(pool.hits) >= pool.wanted or count < pool.limit
        pool.limit *= 2

    def _may_show(self, hit: Hit, where: Where) -> bool:
        row = self._rows[hit.photo_id]
        if row is None or hit.item_id == self._query.item_id:
            return False
        columns = row[1]
        deleted_at = columns["deleted_at"]
        exists = deleted_at is None or (self._at is not None and deleted_at > self._at)
        return bool(exists and columns["is_active"] and where.matches(columns))

    def _vectors_of(self, hits: list[Hit]) -> npt.NDArray[np.float32]:
        return self._vectors.vectors_of([hit.photo_id for hit in hits])

    def _result(self, hits: list[Hit], nearest: list[Hit]) -> SearchResult:
        items, colours = {}, {}
        for hit in (*nearest, *hits):
            colour, columns = self._rows[hit.photo_id] or (None, {})
            items[hit.item_id] = {name: columns[name] for name in ATTRIBUTES}
            colours[hit.photo_id] = colour
        colours = {hit.photo_id: colours[hit.photo_id] for hit in hits}
        return SearchResult(hits, nearest, items, colours, self._last_vector)


_COLUMNS: Final = tuple(f"item__{name}" for name in (*ATTRIBUTES, "price", "in_stock", "is_active", "deleted_at"))


def _columns(values: Iterable[Any]) -> dict[str, Any]:
    return dict(zip((name.removeprefix("item__") for name in _COLUMNS), values, strict=True))
