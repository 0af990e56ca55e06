"""The index in memory follows the rows."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from django.db.models import QuerySet
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from catalog.models import CatalogItem, Embedding, Encoder
from ml.search import EncoderMismatch, ExactIndex, Rows, Where
from tests.helpers.factories import DIM, make_embedding, make_encoder, make_item, make_item_photo, unit
from worker.index import registry
from worker.index.registry import index_of
from worker.index.sync import CatalogIndex

pytestmark = [pytest.mark.django_db, pytest.mark.database]


def photos_of(catalog_index: CatalogIndex) -> list[int]:
    vectors = catalog_index.refresh()
    return sorted(hit.photo_id for hit in vectors.search(unit(1), 100, encoder=catalog_index.encoder.name))


@pytest.fixture
def encoder() -> Encoder:
    return make_encoder()


def test_it_starts_empty_and_follows_later_writes(encoder: Encoder) -> None:
    catalog_index = CatalogIndex(encoder)
    assert photos_of(catalog_index) == []
    first = make_embedding(encoder, unit(1))
    assert photos_of(catalog_index) == [first.photo_id]
    second = make_embedding(encoder, unit(0, 1))
    assert photos_of(catalog_index) == sorted([first.photo_id, second.photo_id])


def test_it_holds_only_the_vectors_of_its_encoder(encoder: Encoder) -> None:
    make_embedding(make_encoder(), unit(1))
    mine = make_embedding(encoder, unit(1))
    assert photos_of(CatalogIndex(encoder)) == [mine.photo_id]


def test_a_search_with_a_vector_of_another_encoder_is_an_error(encoder: Encoder) -> None:
    with pytest.raises(EncoderMismatch):
        CatalogIndex(encoder).refresh().search(unit(1), 1, encoder="another")


def test_it_reads_more_rows_than_one_batch(encoder: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CatalogIndex, "batch_size", 2)
    embeddings = [make_embedding(encoder, unit(1, number)) for number in range(5)]
    assert photos_of(CatalogIndex(encoder)) == [embedding.photo_id for embedding in embeddings]


def test_a_new_vector_of_a_photo_replaces_the_old_one(encoder: Encoder) -> None:
    catalog_index = CatalogIndex(encoder)
    old = make_embedding(encoder, unit(1))
    assert photos_of(catalog_index) == [old.photo_id]
    photo = old.photo
    old.delete()
    Embedding.objects.bulk_create(
        [Embedding(pk=old.photo_id + 1000, encoder=encoder, photo=photo, item=photo.item, vector=unit(0, 1).tobytes())]
    )
    assert photos_of(catalog_index) == [photo.pk]
    assert np.allclose(catalog_index.refresh().vectors_of([photo.pk])[0], unit(0, 1))


def test_deleted_photos_can_be_removed(encoder: Encoder) -> None:
    catalog_index = CatalogIndex(encoder)
    kept, gone = make_embedding(encoder, unit(1)), make_embedding(encoder, unit(0, 1))
    assert len(photos_of(catalog_index)) == 2
    catalog_index.forget([gone.photo_id])
    assert photos_of(catalog_index) == [kept.photo_id]


def categories(catalog_index: CatalogIndex, category: str) -> list[int]:
    found = catalog_index.refresh()
    hits = found.search(unit(1), 100, encoder=catalog_index.encoder.name, where=Where(category=category))
    return sorted(hit.photo_id for hit in hits)


def test_a_changed_item_is_found_by_its_new_values(encoder: Encoder) -> None:
    catalog_index = CatalogIndex(encoder)
    first, second = make_embedding(encoder, unit(1)), make_embedding(encoder, unit(0, 1))
    assert categories(catalog_index, "hat") == []
    CatalogItem.objects.update(category="Hat")
    assert categories(catalog_index, "hat") == [first.photo_id, second.photo_id]
    CatalogItem.objects.filter(pk=first.item_id).update(category="Coat")
    assert categories(catalog_index, "hat") == [second.photo_id]


def test_hidden_and_deleted_items_leave_the_index_and_come_back(encoder: Encoder) -> None:
    catalog_index = CatalogIndex(encoder)
    hidden, deleted, later = (make_embedding(encoder, unit(1, number)) for number in range(3))
    assert len(photos_of(catalog_index)) == 3
    CatalogItem.objects.filter(pk=hidden.item_id).update(is_active=False)
    deleted.item.mark_deleted()
    assert photos_of(catalog_index) == [later.photo_id]
    assert photos_of(CatalogIndex(encoder)) == [later.photo_id]
    CatalogItem.objects.update(is_active=True, deleted_at=None)
    assert photos_of(catalog_index) == [hidden.photo_id, deleted.photo_id, later.photo_id]


def test_a_removed_item_leaves_the_index_with_all_its_photos(encoder: Encoder) -> None:
    catalog_index = CatalogIndex(encoder)
    gone, kept = make_embedding(encoder, unit(1)), make_embedding(encoder, unit(0, 1))
    make_embedding(encoder, unit(1, 1), make_item_photo(gone.item))
    assert len(catalog_index.refresh()) == 3
    gone.item.delete()
    assert photos_of(catalog_index) == [kept.photo_id]


def test_vectors_of_a_hidden_item_are_found_once_it_is_active(encoder: Encoder) -> None:
    catalog_index = CatalogIndex(encoder)
    shown, hidden = make_embedding(encoder, unit(1)), make_item_photo(make_item(is_active=False))
    assert photos_of(catalog_index) == [shown.photo_id]
    make_embedding(encoder, unit(0, 1), hidden)
    assert photos_of(catalog_index) == [shown.photo_id]
    CatalogItem.objects.update(is_active=True)
    assert photos_of(catalog_index) == [shown.photo_id, hidden.pk]


def test_an_index_of_an_earlier_moment_has_the_items_deleted_since(encoder: Encoder) -> None:
    before, since = make_embedding(encoder, unit(1)), make_embedding(encoder, unit(0, 1))
    before.item.mark_deleted()
    moment = timezone.now()
    since.item.mark_deleted()
    assert photos_of(CatalogIndex(encoder)) == []
    assert photos_of(CatalogIndex(encoder, at=moment)) == [since.photo_id]


def test_many_changes_are_applied_in_batches(encoder: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CatalogIndex, "batch_size", 2)
    embeddings = [make_embedding(encoder, unit(1, number)) for number in range(7)]
    catalog_index = CatalogIndex(encoder)
    assert len(photos_of(catalog_index)) == 7
    CatalogItem.objects.filter(pk__in=[embedding.item_id for embedding in embeddings[:5]]).update(category="Hat")
    embeddings[6].item.mark_deleted()
    assert categories(catalog_index, "hat") == [embedding.photo_id for embedding in embeddings[:5]]
    assert photos_of(catalog_index) == [embedding.photo_id for embedding in embeddings[:6]]


class Disturbed(CatalogIndex):
    """Runs `before_reading` between the change feed and the rows."""

    before_reading: Callable[[], object] = staticmethod(lambda: None)

    def _read(self, rows: QuerySet[Embedding]) -> Any:
        self.before_reading()
        return super()._read(rows)


def test_an_item_never_has_a_later_category_without_the_photo_that_came_before_it(encoder: Encoder) -> None:
    item = make_item(category="Coat")
    first = make_embedding(encoder, unit(0, 1), make_item_photo(item))
    catalog_index = Disturbed(encoder)
    assert photos_of(catalog_index) == [first.photo_id]

    def another_photo_then_another_category() -> None:
        make_embedding(encoder, unit(1), make_item_photo(item))
        CatalogItem.objects.update(category="Hat")

    catalog_index.before_reading = another_photo_then_another_category
    CatalogItem.objects.update(in_stock=False)
    index = catalog_index.refresh()
    hits = index.search(unit(1), 1, encoder=encoder.name, where=Where(category="hat"))
    assert [hit.score for hit in hits] == pytest.approx([1.0])
    catalog_index.before_reading = lambda: None
    assert photos_of(catalog_index) == [hits[0].photo_id]  # delivered again, and not added twice


def test_the_changes_of_an_item_are_applied_atomically(encoder: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    """A search on a server at the same time sees all of the changes or none."""
    item = make_item(category="Coat")
    make_embedding(encoder, unit(0, 1), make_item_photo(item))
    catalog_index = CatalogIndex(encoder)
    catalog_index.refresh()
    make_embedding(encoder, unit(1), make_item_photo(item))
    make_embedding(encoder, unit(-1))
    CatalogItem.objects.update(category="Hat")
    changes: list[dict[str, Any]] = []
    update = ExactIndex.update

    def recorded(self: ExactIndex, rows: Rows, **options: Any) -> None:
        changes.append(options)
        update(self, rows, **options)

    monkeypatch.setattr(ExactIndex, "update", recorded)
    index = catalog_index.refresh()
    assert len(changes) == 1
    assert changes[0]["position"] == index.position
    assert len(index) == 3
    catalog_index.refresh()
    assert len(changes) == 1


def test_an_up_to_date_index_costs_one_statement(
    encoder: Encoder, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    catalog_index = CatalogIndex(encoder)
    for number in range(3):
        make_embedding(encoder, unit(1, number))
    catalog_index.refresh()
    CatalogItem.objects.update(category="Hat")
    catalog_index.refresh()
    with django_assert_num_queries(1):
        catalog_index.refresh()


def test_a_stored_vector_is_little_endian_float32(encoder: Encoder) -> None:
    stored = make_embedding(encoder, unit(3, 4))
    stored.refresh_from_db()
    assert len(bytes(stored.vector)) == 4 * DIM
    assert np.frombuffer(bytes(stored.vector), "<f4").tolist() == pytest.approx([0.6, 0.8, 0, 0])


def test_the_least_recently_used_index_is_evicted() -> None:
    first, *others = [make_encoder() for _ in range(registry.MAX_INDEXES)]
    kept = index_of(first)
    second = index_of(others[0])
    for encoder in others[1:]:
        index_of(encoder)
    assert index_of(first) is kept  # and so it was used last
    index_of(make_encoder())
    assert index_of(first) is kept
    assert index_of(others[0]) is not second
