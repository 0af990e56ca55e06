"""From a query's vector to its ranked items: cosine on the CPU, filters, one slot per item, diversity."""

import numpy as np

from catalog.errors import IllegalMove
from catalog.models import CatalogItem, ItemPhoto, SimilarityQuery
from ml.search import Hit, VectorIndex, diversify
from worker.index import CatalogIndex

_POOL = 64  # nearest items looked at before the rows are asked which of them may be shown
_VARIETY = 5  # pages that diversity chooses one page from


def similar_items(query: SimilarityQuery, index: CatalogIndex) -> list[Hit]:
    """The answer to an embedded query, best first: at most `k` items, each once, all findable at this moment.

    The index only proposes. Which items and photos exist, are shown and fit the filters is asked of the rows, so a
    deleted or hidden item is gone from the very next answer.
    """
    vectors = index.refresh()
    hits = _nearest(query, vectors)
    if _names_lost_photos(hits):
        vectors = index.rebuild()
        hits = _nearest(query, vectors)
    if not query.diversity:
        return hits
    return diversify(hits, vectors.vectors_of([hit.photo_id for hit in hits]), query.k, query.diversity)


def _nearest(query: SimilarityQuery, vectors: VectorIndex) -> list[Hit]:
    """The nearest items that may be shown: `k`, or several times as many for diversity to choose from."""
    if query.vector is None:
        raise IllegalMove(f"{query} has no vector yet and cannot be searched")
    encoder = query.answering_encoder.name
    vector = np.frombuffer(bytes(query.vector), dtype="<f4")
    wanted = query.k * _VARIETY if query.diversity else query.k
    pool = vectors.search(vector, max(_POOL, 2 * wanted), encoder=encoder)
    hits = _allowed(pool, query)[:wanted]
    if len(hits) == wanted or len(pool) == len(vectors):
        return hits
    # The filters, or hidden items, left too few of the nearest: search once more, among all that may be shown.
    allowed = np.fromiter(CatalogItem.objects.matching(query.filters).values_list("pk", flat=True), dtype=np.int64)
    return vectors.search(vector, wanted, encoder=encoder, allowed_items=allowed)


def _allowed(hits: list[Hit], query: SimilarityQuery) -> list[Hit]:
    near = CatalogItem.objects.matching(query.filters).filter(pk__in=[hit.item_id for hit in hits])
    allowed = set(near.values_list("pk", flat=True))
    return [hit for hit in hits if hit.item_id in allowed]


def _names_lost_photos(hits: list[Hit]) -> bool:
    photos = [hit.photo_id for hit in hits]
    return ItemPhoto.objects.filter(pk__in=photos).count() < len(photos)
