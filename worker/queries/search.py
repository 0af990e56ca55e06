"""From a query's vector to its ranked items: the nearest that fit the filters, one slot per item, diversity."""

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

NEAREST = 10  # items by which a photo's garment is guessed
TOLD = ("category", "gender", "colour", "brand", "collection")  # what is told of an item beside its score

_VARIETY = 5  # pages that diversity chooses one page from
_ATTEMPTS: Final = 3  # at a varied page, while others take photos out of the index

Facts = dict[str, str]
"""An item's values of `TOLD`, empty where nothing is known."""


Known = tuple[list[float] | None, dict[str, Any]]
"""A photo's colour, and its item's values of `_FACTS`."""


@dataclass(frozen=True)
class Found:
    """The answer, and what is needed to explain it."""

    hits: list[Hit]
    nearest: list[Hit]  # the nearest items that can be found at all, whatever the filters
    items: dict[int, Facts]  # by item
    colours: dict[int, list[float] | None] = field(default_factory=dict)  # by photo of a hit; None if not known
    last_vector: int = 0  # the id of the newest vector that was looked at


def similar_items(query: SimilarityQuery, index: CatalogIndex, at: datetime | None = None) -> Found:
    """The answer to an embedded query, best first: at most `k` items, each once, all findable at this moment.

    The index knows the filters and answers by them. The rows are asked about what is to be shown, and have the last
    word: a deleted or hidden item is gone from the very next answer. `at` an earlier moment: items deleted since then
    are not.
    """
    if query.vector is None:
        raise IllegalTransition(f"{query} has no vector yet and cannot be searched")
    for _ in range(_ATTEMPTS):
        search = _Search(query, index, at)
        try:
            return search.answer()
        except UnknownPhotoError:  # it went out of the index between two questions
            continue
    return search.answer(varied=False)


@dataclass
class _Pool:
    """`wanted` items that fit `where`, of which `hits` are found so far. `asked`: how many the index was asked for."""

    where: Where
    wanted: int
    asked: int
    hits: list[Hit] = field(default_factory=list)
    is_full: bool = False


class _Search:
    def __init__(self, query: SimilarityQuery, index: CatalogIndex, at: datetime | None) -> None:
        self._query, self._index, self._at = query, index, at
        self._vectors: SearchIndex = index.refresh()
        self._last_vector = index.last_vector
        self._vector = np.frombuffer(bytes(query.vector or b""), dtype="<f4")
        self._known: dict[int, Known | None] = {}  # what the rows say of photos, once asked

    def answer(self, *, varied: bool = True) -> Found:
        query, where = self._query, Where(**self._query.filters)
        wanted = query.k * _VARIETY if query.diversity else query.k
        others = 1 if query.item_id else 0  # an item is not similar to itself, it is itself
        nearest = _Pool(ANY, NEAREST, NEAREST + others)
        pool = _Pool(where, wanted, wanted + others)
        if where.is_empty:
            pool = nearest = _Pool(ANY, max(wanted, NEAREST), max(wanted, NEAREST) + others)
        self._fill([pool] if pool is nearest else [pool, nearest])
        hits = [hit for hit in pool.hits[:wanted] if query.min_score is None or hit.score >= query.min_score]
        if query.diversity and varied:
            hits = diversify(hits, self._vectors_of(hits), query.k, query.diversity)
        return self._told(hits[: query.k], nearest.hits[:NEAREST])

    def _fill(self, pools: list[_Pool]) -> None:
        """Ask the index until each pool has what it wants, or there is no more."""
        encoder = self._query.answering_encoder.name
        while open_pools := [pool for pool in pools if not pool.is_full]:
            for pool in open_pools:
                hits = self._vectors.search(self._vector, pool.asked, encoder=encoder, where=pool.where)
                pool.hits = self._by_other_photos(hits)
            gone = self._look_up(hit.photo_id for pool in open_pools for hit in pool.hits)
            for pool in open_pools:
                self._judge(pool, gone)

    def _by_other_photos(self, hits: list[Hit]) -> list[Hit]:
        """Items whose photo is gone by their best other one, where an index on a server has not heard of it yet."""
        late = {hit.item_id for hit in hits if self._known.get(hit.photo_id, ()) is None}
        rows = Embedding.objects.filter(encoder=self._query.answering_encoder, item__in=late)
        if not late or not (found := list(rows.order_by().values_list("item_id", "photo_id", "vector"))):
            return hits
        items, photos, stored = zip(*found, strict=True)
        matrix = np.frombuffer(b"".join(map(bytes, stored)), dtype="<f4").reshape(len(found), -1)
        others = best_hits(np.array(items), np.array(photos), matrix, self._vector, len(late))
        known = {hit.item_id for hit in others}
        return merge_hits([[hit for hit in hits if hit.item_id not in known], others], len(hits))

    def _look_up(self, photos: Iterable[int]) -> set[int]:
        """Ask the rows about photos that they were not asked about yet. Returns those that are gone for ever."""
        if not (new := set(photos) - self._known.keys()):
            return set()
        rows = ItemPhoto.objects.filter(pk__in=new).order_by().values_list("pk", "colour_lab", *_FACTS)
        self._known |= dict.fromkeys(new) | {pk: (colour, _facts(values)) for pk, colour, *values in rows}
        if gone := {photo for photo in new if self._known[photo] is None}:
            self._index.forget(gone)
        return gone

    def _judge(self, pool: _Pool, gone: set[int]) -> None:
        """Keep of its hits what may be shown; where that is too little, ask for more the next time."""
        if any(hit.photo_id in gone for hit in pool.hits):
            pool.asked *= 2
            return  # their items may have other photos
        found, pool.hits = len(pool.hits), [hit for hit in pool.hits if self._may_show(hit, pool.where)]
        pool.is_full = len(pool.hits) >= pool.wanted or found < pool.asked
        pool.asked *= 2

    def _may_show(self, hit: Hit, where: Where) -> bool:
        known = self._known[hit.photo_id]
        if known is None or hit.item_id == self._query.item_id:
            return False
        facts = known[1]
        deleted = facts["deleted_at"]
        is_there = deleted is None or (self._at is not None and deleted > self._at)
        return bool(is_there and facts["is_active"] and where.matches(facts))

    def _vectors_of(self, hits: list[Hit]) -> npt.NDArray[np.float32]:
        return self._vectors.vectors_of([hit.photo_id for hit in hits])

    def _told(self, hits: list[Hit], nearest: list[Hit]) -> Found:
        items, colours = {}, {}
        for hit in (*nearest, *hits):
            colour, facts = self._known[hit.photo_id] or (None, {})
            items[hit.item_id] = {name: facts[name] for name in TOLD}
            colours[hit.photo_id] = colour
        colours = {hit.photo_id: colours[hit.photo_id] for hit in hits}
        return Found(hits, nearest, items, colours, self._last_vector)


_FACTS: Final = tuple(f"item__{name}" for name in (*TOLD, "price", "in_stock", "is_active", "deleted_at"))


def _facts(values: Iterable[Any]) -> dict[str, Any]:
    return dict(zip((name.removeprefix("item__") for name in _FACTS), values, strict=True))
