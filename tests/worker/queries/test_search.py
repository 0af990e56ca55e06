"""Search for an embedded query: order, filters, diversity, and rows that changed since the index was read."""

from collections.abc import Iterable

import numpy as np
import pytest
from pytest_django import DjangoAssertNumQueries

from catalog.errors import IllegalTransition
from catalog.models import CatalogItem, Embedding, Encoder, QueryState
from ml.search import SearchIndex
from tests.helpers.embedded_queries import find_hits, find_item_ids, make_embedded_query, make_ranked_items
from tests.helpers.factories import (
    make_embedding,
    make_encoder,
    make_item,
    make_item_photo,
    make_query,
    make_user,
    unit,
)
from worker.index.sync import CatalogIndex
from worker.queries.search import find_similar_items

pytestmark = [pytest.mark.django_db, pytest.mark.database]


@pytest.fixture
def encoder() -> Encoder:
    return make_encoder()


def test_the_nearest_come_first_and_no_more_than_asked_for(encoder: Encoder) -> None:
    items = make_ranked_items(encoder, 6)
    assert find_item_ids(make_embedded_query(encoder, unit(1), k=3)) == [item.pk for item in items[:3]]


def test_an_item_has_one_rank_with_its_best_photo(encoder: Encoder) -> None:
    item = make_item()
    make_embedding(encoder, unit(0, 1), make_item_photo(item))
    best = make_embedding(encoder, unit(1), make_item_photo(item))
    other = make_ranked_items(encoder, 1)[0]
    hits = find_hits(make_embedded_query(encoder, unit(1), k=10))
    assert (hits[0].item_id, hits[0].photo_id) == (item.pk, best.photo_id)
    assert [hit.item_id for hit in hits] == [item.pk, other.pk]


def test_an_empty_catalogue_gives_an_empty_answer(encoder: Encoder) -> None:
    assert find_item_ids(make_embedded_query(encoder, unit(1))) == []


def test_hidden_and_deleted_items_are_not_found_by_an_index_that_still_has_them(encoder: Encoder) -> None:
    catalog_index = CatalogIndex(encoder)
    shown, hidden, deleted = make_ranked_items(encoder, 3)
    assert len(find_item_ids(make_embedded_query(encoder, unit(1)), catalog_index)) == 3
    CatalogItem.objects.filter(pk=hidden.pk).update(is_active=False)
    deleted.mark_deleted()
    assert find_item_ids(make_embedded_query(encoder, unit(1)), catalog_index) == [shown.pk]


def test_an_item_whose_photo_was_deleted_is_found_by_another_photo(encoder: Encoder) -> None:
    catalog_index = CatalogIndex(encoder)
    item = make_item()
    gone = make_embedding(encoder, unit(1), make_item_photo(item))
    left = make_embedding(encoder, unit(1, 1), make_item_photo(item))
    assert [hit.photo_id for hit in find_hits(make_embedded_query(encoder, unit(1)), catalog_index)] == [gone.photo_id]
    gone.photo.delete()
    assert [hit.photo_id for hit in find_hits(make_embedded_query(encoder, unit(1)), catalog_index)] == [left.photo_id]


def test_a_filter_finds_few_matching_items_behind_many_others(encoder: Encoder) -> None:
    make_ranked_items(encoder, 150, category="Coat")
    rare = make_item(category="Dress")
    make_embedding(encoder, unit(-1), make_item_photo(rare))
    assert find_item_ids(make_embedded_query(encoder, unit(1), k=5, filters={"category": "dress"})) == [rare.pk]
    assert find_item_ids(make_embedded_query(encoder, unit(1), k=5, filters={"category": "hat"})) == []


def test_filters_keep_the_order(encoder: Encoder) -> None:
    items = make_ranked_items(encoder, 12)
    for item in items[::2]:
        CatalogItem.objects.filter(pk=item.pk).update(colour="Red")
    assert find_item_ids(make_embedded_query(encoder, unit(1), k=4, filters={"colour": "red"})) == [
        item.pk for item in items[0:8:2]
    ]


def test_the_answer_equals_a_brute_force_search(encoder: Encoder) -> None:
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
    hits = find_hits(make_embedded_query(encoder, direction, k=10))
    assert [hit.item_id for hit in hits] == expected
    assert [hit.score for hit in hits] == pytest.approx([best[item] for item in expected], abs=1e-5)


def test_diversity_skips_a_near_duplicate(encoder: Encoder) -> None:
    first, double, other = (make_item() for _ in range(3))
    make_embedding(encoder, unit(1, 0.1), make_item_photo(first))
    make_embedding(encoder, unit(1, 0.11), make_item_photo(double))
    make_embedding(encoder, unit(1, -0.6), make_item_photo(other))
    assert find_item_ids(make_embedded_query(encoder, unit(1), k=2)) == [first.pk, double.pk]
    assert find_item_ids(make_embedded_query(encoder, unit(1), k=2, diversity=0.8)) == [first.pk, other.pk]


def test_a_query_without_a_vector_is_refused(encoder: Encoder) -> None:
    with pytest.raises(IllegalTransition):
        find_hits(make_query(encoder=encoder))


def test_a_query_about_an_item_does_not_find_that_item(encoder: Encoder) -> None:
    items = make_ranked_items(encoder, 5)
    query = make_query(
        encoder=encoder, vector=unit(1).tobytes(), state=QueryState.SEARCHING, item=items[0], owner=make_user(), k=3
    )
    assert find_item_ids(query) == [item.pk for item in items[1:4]]


def test_a_query_about_an_item_does_not_find_that_item_among_few_matches(encoder: Encoder) -> None:
    make_ranked_items(encoder, 150, category="Coat")
    dresses = make_ranked_items(encoder, 2, category="Dress")
    query = make_query(
        encoder=encoder,
        vector=unit(-1).tobytes(),
        state=QueryState.SEARCHING,
        item=dresses[0],
        owner=make_user(),
        filters={"category": "Dress"},
    )
    assert find_item_ids(query) == [dresses[1].pk]


def test_a_minimum_score_drops_lower_ranks(encoder: Encoder) -> None:
    items = make_ranked_items(encoder, 6)  # their cosines fall from 1 to 0.77
    assert find_item_ids(make_embedded_query(encoder, unit(1), min_score=0.9)) == [item.pk for item in items[:3]]
    assert find_item_ids(make_embedded_query(encoder, unit(1), min_score=0.9, k=2)) == [item.pk for item in items[:2]]
    assert find_item_ids(make_embedded_query(encoder, unit(1), min_score=1.0)) == [items[0].pk]
    assert find_item_ids(make_embedded_query(encoder, unit(-1), min_score=0.5)) == []


def test_a_minimum_score_holds_with_filters_and_diversity(encoder: Encoder) -> None:
    make_ranked_items(encoder, 150, category="Coat")
    near, far = make_item(category="Dress"), make_item(category="Dress")
    make_embedding(encoder, unit(1, 2), make_item_photo(near))
    make_embedding(encoder, unit(-1), make_item_photo(far))
    options = {"filters": {"category": "dress"}, "k": 5}
    assert find_item_ids(make_embedded_query(encoder, unit(1), **options)) == [near.pk, far.pk]
    for diversity in (0.0, 1.0):
        assert find_item_ids(make_embedded_query(encoder, unit(1), min_score=0.0, diversity=diversity, **options)) == [
            near.pk
        ]


def test_filters_by_stock_and_collection_ignore_case(encoder: Encoder) -> None:
    make_ranked_items(encoder, 100, in_stock=False, collection="Winter")
    summer = make_ranked_items(encoder, 2, collection="Summer")
    both = make_ranked_items(encoder, 1, collection="summer", in_stock=False)
    assert find_item_ids(make_embedded_query(encoder, unit(1), filters={"in_stock": True})) == [
        item.pk for item in summer
    ]
    assert both[0].pk in find_item_ids(make_embedded_query(encoder, unit(1), filters={"collection": "SUMMER"}))
    assert find_item_ids(
        make_embedded_query(encoder, unit(1), filters={"in_stock": False, "collection": "summer"})
    ) == [both[0].pk]


def test_the_nearest_items_ignore_the_filters_but_not_hidden_items(encoder: Encoder) -> None:
    items = make_ranked_items(encoder, 14, category="Coat", brand="Linden")
    CatalogItem.objects.filter(pk=items[0].pk).update(is_active=False)
    result = find_similar_items(
        make_embedded_query(encoder, unit(1), filters={"category": "Hat"}), CatalogIndex(encoder)
    )
    assert result.hits == []
    assert [hit.item_id for hit in result.nearest] == [item.pk for item in items[1:11]]
    assert result.items[items[1].pk]["brand"] == "Linden"


@pytest.mark.parametrize("items", [1, 12])
def test_the_number_of_sql_statements_does_not_depend_on_the_answer(
    encoder: Encoder, items: int, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    make_ranked_items(encoder, items)
    query, catalog_index = make_embedded_query(encoder, unit(1)), CatalogIndex(encoder)
    catalog_index.refresh()
    # the change set; the items and photos of the hits
    with django_assert_num_queries(2):
        assert len(find_similar_items(query, catalog_index).hits) == min(items, 10)
    query.filters = {"category": "hat"}
    with django_assert_num_queries(2):
        assert find_similar_items(query, catalog_index).hits == []


class Delayed(CatalogIndex):
    """An index on a server, which learns of a deleted photo within a second."""

    def refresh(self) -> SearchIndex:
        return self.index

    def forget(self, photo_ids: Iterable[int]) -> None:
        """The second is not over yet."""


def test_an_item_is_found_by_another_photo_before_the_index_learns_that_its_best_one_was_deleted(
    encoder: Encoder,
) -> None:
    items = make_ranked_items(encoder, 3)
    best = make_embedding(encoder, unit(1), make_item_photo(items[2]))
    alone = make_embedding(encoder, unit(1))
    index = Delayed(encoder)
    CatalogIndex.refresh(index)
    query = make_embedded_query(encoder, unit(1), k=5)
    assert set(find_item_ids(query, index)[:3]) == {items[0].pk, items[2].pk, alone.item_id}
    for gone in (best, alone):
        gone.photo.delete()
    assert find_item_ids(query, index) == [item.pk for item in items]
    assert find_item_ids(make_embedded_query(encoder, unit(1), k=2), index) == [items[0].pk, items[1].pk]
