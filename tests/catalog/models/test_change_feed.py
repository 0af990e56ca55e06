"""Change feed: every write to an item is delivered, however it was made."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.apps import apps
from django.core.management import call_command
from django.db import connection, transaction

from catalog.models import CatalogItem, ChangeFeed, ItemPhoto
from catalog.models.change_feed import FROM_NOW, changes_since, install_triggers, remove_triggers
from tests.helpers.factories import make_embedding, make_encoder, make_item, make_item_photo, unit

pytestmark = [pytest.mark.django_db, pytest.mark.database]

needs_postgres = pytest.mark.skipif("connection.vendor != 'postgresql'", reason="SQLite has one writer at a time")


def save_as_it_was_read(item: CatalogItem) -> None:
    stale = CatalogItem.objects.get(pk=item.pk)
    CatalogItem.objects.filter(pk=item.pk).update(
        name="Other"
    )  # raises the version; the next line writes the old one back
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


# On PostgreSQL a version is a transaction id, so these tests must not be one transaction.
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_delivered_and_nothing_else(change: Callable[[CatalogItem], Any]) -> None:
    item, other = make_item_photo().item, make_item_photo().item
    first = changes_since(0)
    assert first.changed.keys() == {item.pk, other.pk}
    assert changes_since(first.cursor).changed == {}
    change(item)
    second = changes_since(first.cursor)
    assert second.changed.keys() == {item.pk}
    assert second.changed[item.pk] > first.changed[item.pk]
    assert changes_since(second.cursor).changed == {}
    make_item()
    assert len(changes_since(second.cursor).changed) == 1


@pytest.mark.django_db(transaction=True)
def test_a_version_is_not_reused_when_its_row_is_deleted() -> None:
    kept, gone = make_item(), make_item()
    start = changes_since(0).cursor
    CatalogItem.objects.filter(pk=gone.pk).delete()
    start = max(start, changes_since(start).cursor)
    kept.save()
    assert changes_since(start).changed.keys() == {kept.pk}


@pytest.mark.django_db(transaction=True)
def test_a_removed_item_is_delivered() -> None:
    make_item()
    gone = make_item_photo().item
    pk, start = gone.pk, changes_since(0).cursor
    gone.delete()
    changes = changes_since(start)
    assert changes.changed.keys() == {pk}
    assert changes_since(changes.cursor).changed == {}


def test_a_rolled_back_change_is_not_delivered() -> None:
    item = make_item()
    start = changes_since(0).cursor
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        item.save()
        raise ZeroDivisionError
    assert changes_since(start).cursor == start or connection.vendor == "postgresql"


@needs_postgres
@pytest.mark.django_db(transaction=True)
def test_a_transaction_that_starts_first_and_commits_last_is_not_missed() -> None:
    slow, fast = make_item(), make_item()
    before = changes_since(0)
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
    between = changes_since(before.cursor)
    assert between.changed.keys() == {fast.pk}
    may_end.set()
    writer.join()
    after = changes_since(between.cursor)
    assert slow.pk in after.changed
    assert after.changed[slow.pk] < between.changed[fast.pk]  # the order of transaction ids is not the order of commits
    assert changes_since(after.cursor).changed == {}


def test_the_newest_vector_of_an_encoder_is_delivered_if_it_is_new() -> None:
    encoder, other = make_encoder(), make_encoder()
    vectors = [make_embedding(encoder, unit(1)) for _ in range(2)]
    make_embedding(other, unit(1))
    assert changes_since(FROM_NOW, encoder.pk).vector == vectors[1].pk
    assert changes_since(FROM_NOW, encoder.pk, vectors[0].pk).vector == vectors[1].pk
    assert changes_since(FROM_NOW, encoder.pk, vectors[1].pk).vector == 0


def test_two_changes_in_one_transaction_have_different_versions() -> None:
    item = make_item()
    first = changes_since(0)
    item.save()
    second = changes_since(first.cursor)
    assert second.changed[item.pk] != first.changed[item.pk]
    assert changes_since(first.cursor).changed == second.changed


def test_installing_the_triggers_again_changes_nothing() -> None:
    item, feed_id = make_item(), changes_since(0).feed_id
    install_triggers("default")
    assert changes_since(0).feed_id == feed_id
    assert changes_since(0).changed.keys() == {item.pk}


def test_missing_triggers_start_a_new_feed_id() -> None:
    feed_id = changes_since(0).feed_id
    remove_triggers("default")
    start = changes_since(FROM_NOW).cursor
    item = make_item()
    assert item.pk not in changes_since(max(start, 1)).changed
    install_triggers("default")
    assert changes_since(0).feed_id != feed_id
    item.save()
    assert item.pk in changes_since(start).changed


def test_versions_of_another_database_are_replaced_and_start_a_new_feed_id() -> None:
    item, feed_id = make_item(), changes_since(0).feed_id
    with connection.cursor() as cursor:  # as in a restored copy: without the triggers
        if connection.vendor == "postgresql":
            cursor.execute("ALTER TABLE catalog_catalogitem DISABLE TRIGGER USER")
        CatalogItem.objects.filter(pk=item.pk).update(changed=2**62)
        if connection.vendor == "postgresql":
            cursor.execute("ALTER TABLE catalog_catalogitem ENABLE TRIGGER USER")
    assert changes_since(0).changed[item.pk][0] == 2**62
    install_triggers("default")
    changes = changes_since(0)
    assert changes.feed_id != feed_id
    assert changes.changed[item.pk] < (2**62, "")


@pytest.mark.django_db(transaction=True)
def test_a_rebuilt_table_has_its_triggers() -> None:
    item = make_item_photo().item
    feed_id = changes_since(0).feed_id
    call_command("migrate", "catalog", "0007", verbosity=0)
    try:
        with connection.cursor() as cursor:  # no trigger uses the missing column
            cursor.execute("UPDATE catalog_catalogitem SET name = 'Old times' WHERE id = %s", [item.pk])
    finally:
        call_command("migrate", verbosity=0)
    changes = changes_since(0)
    assert changes.feed_id != feed_id
    item.save()
    assert changes_since(changes.cursor).changed.keys() == {item.pk}


def test_there_is_one_row() -> None:
    assert ChangeFeed.objects.count() == 1
    assert "changefeed" in apps.all_models["catalog"]
