"""Every change of an item is told to whoever asks after it, however it was made."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.apps import apps
from django.core.management import call_command
from django.db import connection, transaction

from catalog.models import CatalogItem, ChangeFeed, ItemPhoto
from catalog.models.change_feed import FROM_NOW, install_triggers, news_since, remove_triggers
from tests.helpers.factories import make_embedding, make_encoder, make_item, make_item_photo, unit

pytestmark = [pytest.mark.django_db, pytest.mark.database]

needs_postgres = pytest.mark.skipif("connection.vendor != 'postgresql'", reason="SQLite has one writer at a time")


def save_as_it_was_read(item: CatalogItem) -> None:
    stale = CatalogItem.objects.get(pk=item.pk)
    CatalogItem.objects.filter(pk=item.pk).update(name="Other")  # brings the mark forward, the next line back
    stale.save()


def write_in_bulk(item: CatalogItem) -> None:
    item.price = 5
    CatalogItem.objects.bulk_update([item], ["price"])


def upsert(item: CatalogItem) -> None:
    again = CatalogItem(external_id=item.external_id, name="Again")
    CatalogItem.objects.bulk_create(
        [again], update_conflicts=True, unique_fields=["external_id"], update_fields=["name"]
    )


def write_plain_sql(item: CatalogItem) -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE catalog_catalogitem SET brand = 'Linden' WHERE id = %s", [item.pk])


CHANGES: list[Callable[[CatalogItem], Any]] = [
    lambda item: item.save(),
    save_as_it_was_read,
    write_in_bulk,
    upsert,
    write_plain_sql,
    lambda item: CatalogItem.objects.filter(pk=item.pk).update(is_active=False),
    lambda item: item.mark_deleted(),
    lambda item: ItemPhoto.objects.filter(item=item).delete(),
]


# On PostgreSQL all of one transaction has one mark, so these tests must not be one.
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_told_and_nothing_else_is(change: Callable[[CatalogItem], Any]) -> None:
    item, other = make_item_photo().item, make_item_photo().item
    first = news_since(0)
    assert first.changed.keys() == {item.pk, other.pk}
    assert news_since(first.marker).changed == {}
    change(item)
    second = news_since(first.marker)
    assert second.changed.keys() == {item.pk}
    assert second.changed[item.pk] > first.changed[item.pk]
    assert news_since(second.marker).changed == {}
    make_item()
    assert len(news_since(second.marker).changed) == 1


@pytest.mark.django_db(transaction=True)
def test_a_mark_is_not_given_twice_when_the_row_that_had_it_is_gone() -> None:
    kept, gone = make_item(), make_item()
    marker = news_since(0).marker
    CatalogItem.objects.filter(pk=gone.pk).delete()
    marker = max(marker, news_since(marker).marker)
    kept.save()
    assert news_since(marker).changed.keys() == {kept.pk}


@pytest.mark.django_db(transaction=True)
def test_an_item_that_is_removed_is_told_as_well() -> None:
    make_item()
    gone = make_item_photo().item
    pk, marker = gone.pk, news_since(0).marker
    gone.delete()
    news = news_since(marker)
    assert news.changed.keys() == {pk}
    assert news_since(news.marker).changed == {}


def test_what_is_rolled_back_is_not_told() -> None:
    item = make_item()
    marker = news_since(0).marker
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        item.save()
        raise ZeroDivisionError
    assert news_since(marker).marker == marker or connection.vendor == "postgresql"


@needs_postgres
@pytest.mark.django_db(transaction=True)
def test_a_transaction_that_began_first_and_ends_last_is_not_missed() -> None:
    slow, fast = make_item(), make_item()
    seen = news_since(0)
    began, may_end = threading.Event(), threading.Event()

    def write_slowly() -> None:
        try:
            with transaction.atomic():
                CatalogItem.objects.filter(pk=slow.pk).update(name="Slow")
                began.set()
                may_end.wait(20)
        finally:
            connection.close()

    writer = threading.Thread(target=write_slowly)
    writer.start()
    assert began.wait(20)
    fast.save()
    between = news_since(seen.marker)
    assert between.changed.keys() == {fast.pk}
    may_end.set()
    writer.join()
    after = news_since(between.marker)
    assert slow.pk in after.changed
    assert after.changed[slow.pk] < between.changed[fast.pk]  # the order of ids is not that of ends
    assert news_since(after.marker).changed == {}


def test_the_newest_vector_of_an_encoder_is_told_when_there_is_one_after_the_last() -> None:
    encoder, other = make_encoder(), make_encoder()
    vectors = [make_embedding(encoder, unit(1)) for _ in range(2)]
    make_embedding(other, unit(1))
    assert news_since(FROM_NOW, encoder.pk).vector == vectors[1].pk
    assert news_since(FROM_NOW, encoder.pk, vectors[0].pk).vector == vectors[1].pk
    assert news_since(FROM_NOW, encoder.pk, vectors[1].pk).vector == 0


def test_two_changes_in_one_transaction_are_told_apart() -> None:
    item = make_item()
    first = news_since(0)
    item.save()
    second = news_since(first.marker)
    assert second.changed[item.pk] != first.changed[item.pk]
    assert news_since(first.marker).changed == second.changed


def test_making_the_triggers_again_changes_nothing() -> None:
    item, history = make_item(), news_since(0).history
    install_triggers("default")
    assert news_since(0).history == history
    assert news_since(0).changed.keys() == {item.pk}


def test_where_triggers_were_missing_a_new_history_begins() -> None:
    history = news_since(0).history
    remove_triggers("default")
    marker = news_since(FROM_NOW).marker
    item = make_item()
    assert item.pk not in news_since(max(marker, 1)).changed
    install_triggers("default")
    assert news_since(0).history != history
    item.save()
    assert item.pk in news_since(marker).changed


def test_marks_of_another_database_are_replaced_and_a_new_history_begins() -> None:
    item, history = make_item(), news_since(0).history
    with connection.cursor() as cursor:  # as rows of a copy come, without the triggers
        if connection.vendor == "postgresql":
            cursor.execute("ALTER TABLE catalog_catalogitem DISABLE TRIGGER USER")
        CatalogItem.objects.filter(pk=item.pk).update(changed=2**62)
        if connection.vendor == "postgresql":
            cursor.execute("ALTER TABLE catalog_catalogitem ENABLE TRIGGER USER")
    assert news_since(0).changed[item.pk][0] == 2**62
    install_triggers("default")
    news = news_since(0)
    assert news.history != history
    assert news.changed[item.pk] < (2**62, "")


@pytest.mark.django_db(transaction=True)
def test_a_table_that_is_made_anew_keeps_its_triggers() -> None:
    item = make_item_photo().item
    history = news_since(0).history
    call_command("migrate", "catalog", "0007", verbosity=0)
    try:
        with connection.cursor() as cursor:  # nothing looks for the column that is not there
            cursor.execute("UPDATE catalog_catalogitem SET name = 'Old times' WHERE id = %s", [item.pk])
    finally:
        call_command("migrate", verbosity=0)
    news = news_since(0)
    assert news.history != history
    item.save()
    assert news_since(news.marker).changed.keys() == {item.pk}


def test_the_row_is_the_only_one() -> None:
    assert ChangeFeed.objects.count() == 1
    assert "changefeed" in apps.all_models["catalog"]
