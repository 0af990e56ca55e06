"""The answer to a vector, against the rows as they are at that moment."""

import numpy as np
import pytest

from catalog.errors import IllegalMove
from catalog.models import CatalogItem, Embedding, Encoder, QueryState, SimilarityQuery
from tests.factories import make_embedding, make_encoder, make_item, make_item_photo, make_query, unit
from worker.index import CatalogIndex
from worker.searching import similar_items

pytestmark = [pytest.mark.django_db, pytest.mark.database]


@pytest.fixture
def encoder() -> Encoder:
    return make_encoder()


def ask(encoder: Encoder, vector: np.ndarray, **columns: object) -> SimilarityQuery:
    return make_query(encoder=encoder, vector=vector.tobytes(), state=QueryState.SEARCHING, **columns)


def items_of(query: SimilarityQuery, catalog_index: CatalogIndex | None = None) -> list[int]:
    return [hit.item_id for hit in similar_items(query, catalog_index or CatalogIndex(query.answering_encoder))]


def fan(encoder: Encoder, count: int, **columns: object) -> list[CatalogItem]:
    """Items whose photos turn away from (1, 0) step by step, so that their order is known."""
    items = []
    for step in range(count):
        item = make_item(**columns)
        make_embedding(encoder, unit(1, step / count), make_item_photo(item))
        items.append(item)
    return items


def test_the_nearest_come_first_and_no_more_than_asked_for(encoder: Encoder) -> None:
    items = fan(encoder, 6)
    assert items_of(ask(encoder, unit(1), k=3)) == [item.pk for item in items[:3]]


def test_an_item_takes_one_place_with_its_best_photo(encoder: Encoder) -> None:
    item = make_item()
    make_embedding(encoder, unit(0, 1), make_item_photo(item))
    best = make_embedding(encoder, unit(1), make_item_photo(item))
    other = fan(encoder, 1)[0]
    hits = similar_items(ask(encoder, unit(1), k=10), CatalogIndex(encoder))
    assert (hits[0].item_id, hits[0].photo_id) == (item.pk, best.photo_id)
    assert [hit.item_id for hit in hits] == [item.pk, other.pk]


def test_an_empty_catalogue_gives_an_empty_answer(encoder: Encoder) -> None:
    assert items_of(ask(encoder, unit(1))) == []


def test_hidden_and_deleted_items_are_missing_from_an_index_that_still_knows_them(encoder: Encoder) -> None:
    catalog_index = CatalogIndex(encoder)
    shown, hidden, deleted = fan(encoder, 3)
    assert len(items_of(ask(encoder, unit(1)), catalog_index)) == 3
    CatalogItem.objects.filter(pk=hidden.pk).update(is_active=False)
    deleted.mark_deleted()
    assert items_of(ask(encoder, unit(1)), catalog_index) == [shown.pk]


def test_a_photo_deleted_since_is_not_recommended_but_its_item_is_by_another(encoder: Encoder) -> None:
    catalog_index = CatalogIndex(encoder)
    item = make_item()
    gone = make_embedding(encoder, unit(1), make_item_photo(item))
    left = make_embedding(encoder, unit(1, 1), make_item_photo(item))
    assert [hit.photo_id for hit in similar_items(ask(encoder, unit(1)), catalog_index)] == [gone.photo_id]
    gone.photo.delete()
    assert [hit.photo_id for hit in similar_items(ask(encoder, unit(1)), catalog_index)] == [left.photo_id]


def test_a_filter_finds_the_few_that_fit_far_behind_many_that_do_not(encoder: Encoder) -> None:
    fan(encoder, 150, category="Coat")
    rare = make_item(category="Dress")
    make_embedding(encoder, unit(-1), make_item_photo(rare))
    assert items_of(ask(encoder, unit(1), k=5, filters={"category": "dress"})) == [rare.pk]
    assert items_of(ask(encoder, unit(1), k=5, filters={"category": "hat"})) == []


def test_filters_keep_the_order_of_the_whole(encoder: Encoder) -> None:
    items = fan(encoder, 12)
    for item in items[::2]:
        CatalogItem.objects.filter(pk=item.pk).update(colour="Red")
    assert items_of(ask(encoder, unit(1), k=4, filters={"colour": "red"})) == [item.pk for item in items[0:8:2]]


def test_the_answer_equals_the_dumbest_search(encoder: Encoder) -> None:
    rng = np.random.default_rng(5)
    for _ in range(40):
        item = make_item()
        for _ in range(rng.integers(1, 4)):
            make_embedding(encoder, unit(*rng.normal(size=4)), make_item_photo(item))
    direction = unit(*rng.normal(size=4))
    best: dict[int, float] = {}
    for row in Embedding.objects.all():
        score = float(np.dot(np.frombuffer(bytes(row.vector), "<f4"), direction))
        best[row.item_id] = max(score, best.get(row.item_id, -2))
    expected = sorted(best, key=lambda item: (-best[item], item))[:10]
    hits = similar_items(ask(encoder, direction, k=10), CatalogIndex(encoder))
    assert [hit.item_id for hit in hits] == expected
    assert [hit.score for hit in hits] == pytest.approx([best[item] for item in expected], abs=1e-5)


def test_diversity_passes_over_a_double_for_something_else(encoder: Encoder) -> None:
    first, double, other = (make_item() for _ in range(3))
    make_embedding(encoder, unit(1, 0.1), make_item_photo(first))
    make_embedding(encoder, unit(1, 0.11), make_item_photo(double))
    make_embedding(encoder, unit(1, -0.6), make_item_photo(other))
    assert items_of(ask(encoder, unit(1), k=2)) == [first.pk, double.pk]
    assert items_of(ask(encoder, unit(1), k=2, diversity=0.8)) == [first.pk, other.pk]


def test_a_query_without_a_vector_cannot_be_searched(encoder: Encoder) -> None:
    with pytest.raises(IllegalMove):
        similar_items(make_query(encoder=encoder), CatalogIndex(encoder))
