"""From a query's vector to its ranked items: cosine on the CPU, filters, one slot per item, diversity."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime

import numpy as np

from catalog.errors import IllegalMove
from catalog.models import CatalogItem, ItemPhoto, SimilarityQuery
from ml.search import Hit, VectorIndex, diversify
from worker.index import CatalogIndex

NEAREST = 10  # items by which a photo's garment is guessed
TOLD = ("category", "gender", "colour", "brand", "collection")  # what is told of an item beside its score

_POOL = 64  # nearest items looked at before the rows are asked which of them may be shown
_VARIETY = 5  # pages that diversity chooses one page from

Facts = dict[str, str]
"""An item's values of `TOLD`, empty where nothing is known."""


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

    The index only proposes. Which items and photos exist, are shown and fit the filters is asked of the rows, so a
    deleted or hidden item is gone from the very next answer. `at` an earlier moment: items deleted since then are not.
    """
    vectors, last_vector = index.refresh(), index.last_id
    found = _nearest(query, vectors, at)
    while gone := {hit.photo_id for hit in found.hits} - found.colours.keys():  # the index still knows them
        index.forget(gone)
        found = _nearest(query, vectors, at)
    found = replace(found, last_vector=last_vector)
    if not query.diversity:
        return found
    photos = [hit.photo_id for hit in found.hits]
    return replace(found, hits=diversify(found.hits, vectors.vectors_of(photos), query.k, query.diversity))


def _nearest(query: SimilarityQuery, vectors: VectorIndex, at: datetime | None) -> Found:
    """The nearest items that may be shown: `k`, or several times as many for diversity to choose from."""
    if query.vector is None:
        raise IllegalMove(f"{query} has no vector yet and cannot be searched")
    encoder = query.answering_encoder.name
    vector = np.frombuffer(bytes(query.vector), dtype="<f4")
    wanted = query.k * _VARIETY if query.diversity else query.k
    pool = vectors.search(vector, max(_POOL, 2 * wanted), encoder=encoder)
    items = _findable((hit.item_id for hit in pool), at)
    items.pop(query.item_id or 0, None)  # an item is not similar to itself, it is itself
    near = [hit for hit in pool if hit.item_id in items]
    hits = _fitting(near, query, at)[:wanted]
    if len(hits) < wanted and len(pool) < len(vectors):
        # The filters, or hidden items, left too few of the nearest: search once more, among all that may be shown.
        hits = vectors.search(vector, wanted, encoder=encoder, allowed_items=_allowed_items(query, at))
        items |= _findable((hit.item_id for hit in hits if hit.item_id not in items), at)
    if query.min_score is not None:
        hits = [hit for hit in hits if hit.score >= query.min_score]
    return Found(hits, near[:NEAREST], items, _colours(hits))


def _findable(ids: Iterable[int], at: datetime | None) -> dict[int, Facts]:
    """What is known of those items that may be shown at all."""
    if not (wanted := list(ids)):
        return {}
    rows = CatalogItem.objects.findable(at).filter(pk__in=wanted).values_list("pk", *TOLD)
    return {pk: dict(zip(TOLD, values, strict=True)) for pk, *values in rows}


def _fitting(hits: list[Hit], query: SimilarityQuery, at: datetime | None) -> list[Hit]:
    if not query.filters:
        return hits
    near = CatalogItem.objects.matching(query.filters, at).filter(pk__in=[hit.item_id for hit in hits])
    fitting = set(near.values_list("pk", flat=True))
    return [hit for hit in hits if hit.item_id in fitting]


def _allowed_items(query: SimilarityQuery, at: datetime | None) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    others = CatalogItem.objects.matching(query.filters, at).exclude(pk=query.item_id or 0)
    return np.fromiter(others.values_list("pk", flat=True), dtype=np.int64)


def _colours(hits: list[Hit]) -> dict[int, list[float] | None]:
    """The colours of the photos that still exist."""
    photos = ItemPhoto.objects.filter(pk__in=[hit.photo_id for hit in hits])
    return dict(photos.values_list("pk", "colour_lab"))
