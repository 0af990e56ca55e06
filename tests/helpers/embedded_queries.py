"""Embedded queries, items in a known order of similarity, and the hits of a search."""

import numpy as np

from catalog.models import CatalogItem, Encoder, QueryState, SimilarityQuery
from ml.search import Hit
from tests.helpers.factories import make_embedding, make_item, make_item_photo, make_query, unit
from worker.index.registry import CatalogIndex
from worker.queries.search import find_similar_items


def make_embedded_query(encoder: Encoder, vector: np.ndarray, **columns: object) -> SimilarityQuery:
    """Create a query with this vector, claimed for its search."""
    return make_query(encoder=encoder, vector=vector.tobytes(), state=QueryState.SEARCHING, **columns)


def find_hits(query: SimilarityQuery, index: CatalogIndex | None = None) -> list[Hit]:
    return find_similar_items(query, index or CatalogIndex(query.answering_encoder)).hits


def find_item_ids(query: SimilarityQuery, index: CatalogIndex | None = None) -> list[int]:
    return [hit.item_id for hit in find_hits(query, index)]


def make_ranked_items(encoder: Encoder, count: int, **columns: object) -> list[CatalogItem]:
    """Create items whose similarity to (1, 0) falls step by step."""
    items = []
    for step in range(count):
        item = make_item(**columns)
        make_embedding(encoder, unit(1, step / count), make_item_photo(item))
        items.append(item)
    return items
