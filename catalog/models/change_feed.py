"""What has changed in the catalogue since somebody last looked: for indexes, which follow it without reading it all.

Triggers of the database set `CatalogItem.changed` at every write, so that bulk updates and plain SQL count as well.
"""

import secrets
from typing import Any, Final, NamedTuple

from django.apps import AppConfig
from django.apps import apps as global_apps
from django.db import connection, connections, models, transaction
from django.db.models.signals import post_migrate, pre_migrate

FROM_NOW: Final = 2**63 - 1
"""A mark after all that will ever be given."""

TABLES: Final = {
    "catalog_item_added": "catalog_catalogitem",
    "catalog_item_changed": "catalog_catalogitem",
    "catalog_item_removed": "catalog_catalogitem",
    "catalog_photo_deleted": "catalog_itemphoto",
}
"""The triggers, and what they are on."""


class ChangeFeed(models.Model):
    """One row. `history` tells whether marks of earlier belong to the present ones: it is drawn anew when they do not.

    `last` is the highest mark given by SQLite; PostgreSQL counts its transactions instead.
    """

    history = models.BigIntegerField(default=0)
    last = models.BigIntegerField(default=0)

    def __str__(self) -> str:
        return f"history {self.history}, mark {self.last}"


Mark = tuple[int, str]
"""Of one state of an item: when it came, and what tells it from others that the same transaction has written."""


class RemovedItem(models.Model):
    """An item that was removed from the database, and when; a mark as `CatalogItem.changed` is one."""

    item = models.BigIntegerField()
    changed = models.BigIntegerField(db_index=True)

    def __str__(self) -> str:
        return f"item {self.item}, removed at {self.changed}"


class News(NamedTuple):
    """What there is after a mark: the items with their own marks, and the id of an encoder's newest vector, or 0.

    `marker` is what to ask with the next time. Some items may be told again then, with the same marks. Where it is
    lower than what was asked with, or `history` another, nothing that is known from before may be relied on.
    """

    history: int
    marker: int
    vector: int
    changed: dict[int, Mark]


# A transaction's id is given when it begins to write, so one with a lower id may commit after one with a higher, and
# whoever asked for "ids above the highest that I saw" would miss it. Instead a reader remembers the lowest id that was
# still at work in the snapshot it read: whatever it could not see yet was at work or had not begun, and so has that id
# or a higher one. SQLite has one writer at a time, and so counts in the order of commits.
_MARKER: Final = {"postgresql": "pg_snapshot_xmin(pg_current_snapshot())::text::bigint", "sqlite": "last + 1"}
_VERSION: Final = {"postgresql": "ctid::text", "sqlite": "''"}

_NEWS: Final = """
SELECT 0, history, {marker}, '' FROM catalog_changefeed
UNION ALL SELECT 1, coalesce(max(id), 0), 0, '' FROM catalog_embedding WHERE encoder_id = %s AND id > %s
UNION ALL SELECT 2, id, changed, {version} FROM catalog_catalogitem WHERE changed >= %s
UNION ALL SELECT 2, item, changed, 'removed' FROM catalog_removeditem WHERE changed >= %s
"""


def news_since(marker: int, encoder_id: int = 0, vector: int = 0) -> News:
    """What changed at `marker` and after it, and whether the encoder has vectors after that with the id `vector`.

    One statement, so all of it is told of the same moment.
    """
    statement = _NEWS.format(marker=_MARKER[connection.vendor], version=_VERSION[connection.vendor])
    with connection.cursor() as cursor:
        cursor.execute(statement, [encoder_id, vector, marker, marker])
        rows: list[tuple[int, int, int, str]] = cursor.fetchall()
    history, following = next(((here, mark) for kind, here, mark, _ in rows if kind == 0), (0, 0))
    newest = next(pk for kind, pk, *_ in rows if kind == 1)
    return News(history, following, newest, {pk: (mark, version) for kind, pk, mark, version in rows if kind == 2})


# Where every table is emptied, as between tests, the feed's own row may go first: hence `coalesce`.
_SQLITE: Final = (
    """
    CREATE TRIGGER IF NOT EXISTS catalog_item_added AFTER INSERT ON catalog_catalogitem BEGIN
        UPDATE catalog_changefeed SET last = last + 1;
        UPDATE catalog_catalogitem SET changed = coalesce((SELECT last FROM catalog_changefeed), 0) WHERE id = NEW.id;
    END
    """,
    # A row that is saved as it was read brings its old mark back. Only the trigger itself makes marks higher.
    """
    CREATE TRIGGER IF NOT EXISTS catalog_item_changed AFTER UPDATE ON catalog_catalogitem
    WHEN NEW.changed <= OLD.changed BEGIN
        UPDATE catalog_changefeed SET last = last + 1;
        UPDATE catalog_catalogitem SET changed = coalesce((SELECT last FROM catalog_changefeed), 0) WHERE id = NEW.id;
    END
    """,
    """
    CREATE TRIGGER IF NOT EXISTS catalog_item_removed AFTER DELETE ON catalog_catalogitem BEGIN
        UPDATE catalog_changefeed SET last = last + 1;
        INSERT INTO catalog_removeditem (item, changed) SELECT OLD.id, last FROM catalog_changefeed;
    END
    """,
    """
    CREATE TRIGGER IF NOT EXISTS catalog_photo_deleted AFTER DELETE ON catalog_itemphoto BEGIN
        UPDATE catalog_catalogitem SET changed = 0 WHERE id = OLD.item_id;
    END
    """,
)

_POSTGRESQL: Final = (
    """
    CREATE OR REPLACE FUNCTION catalog_mark_item() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN NEW.changed := pg_current_xact_id()::text::bigint; RETURN NEW; END $$
    """,
    """
    CREATE OR REPLACE FUNCTION catalog_mark_item_of_photo() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN UPDATE catalog_catalogitem SET changed = 0 WHERE id = OLD.item_id; RETURN NULL; END $$
    """,
    """
    CREATE OR REPLACE FUNCTION catalog_mark_removed_item() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO catalog_removeditem (item, changed) VALUES (OLD.id, pg_current_xact_id()::text::bigint);
        RETURN NULL;
    END $$
    """,
    "CREATE OR REPLACE TRIGGER catalog_item_removed AFTER DELETE ON catalog_catalogitem"
    " FOR EACH ROW EXECUTE FUNCTION catalog_mark_removed_item()",
    "CREATE OR REPLACE TRIGGER catalog_item_added BEFORE INSERT ON catalog_catalogitem"
    " FOR EACH ROW EXECUTE FUNCTION catalog_mark_item()",
    "CREATE OR REPLACE TRIGGER catalog_item_changed BEFORE UPDATE ON catalog_catalogitem"
    " FOR EACH ROW EXECUTE FUNCTION catalog_mark_item()",
    "CREATE OR REPLACE TRIGGER catalog_photo_deleted AFTER DELETE ON catalog_itemphoto"
    " FOR EACH ROW EXECUTE FUNCTION catalog_mark_item_of_photo()",
)

_TRIGGERS: Final = {
    "postgresql": "SELECT tgname FROM pg_trigger WHERE NOT tgisinternal AND tgrelid IN"
    " (to_regclass('catalog_catalogitem'), to_regclass('catalog_itemphoto'))",
    "sqlite": "SELECT name FROM sqlite_master WHERE type = 'trigger'",
}

# Marks that this database has not given: a copy of another one was put in its place.
_REMARK: Final = {
    "postgresql": "UPDATE catalog_catalogitem SET changed = 0"
    " WHERE changed > pg_snapshot_xmax(pg_current_snapshot())::text::bigint",
    "sqlite": "UPDATE catalog_catalogitem SET changed = 0 WHERE changed > (SELECT last FROM catalog_changefeed)",
}


def install_triggers(using: str) -> None:
    """Make the triggers. Where some were missing, changes may have gone unmarked, so a new history begins."""
    here = connections[using]
    with transaction.atomic(using), here.cursor() as cursor:
        cursor.execute(_TRIGGERS[here.vendor])
        unbroken = {name for (name,) in cursor.fetchall()} >= TABLES.keys()
        for statement in _POSTGRESQL if here.vendor == "postgresql" else _SQLITE:
            cursor.execute(statement)
        feed, made = ChangeFeed.objects.using(using).get_or_create(pk=1)
        cursor.execute(_REMARK[here.vendor])
        if made or not unbroken or cursor.rowcount:
            RemovedItem.objects.using(using).all().delete()
            ChangeFeed.objects.using(using).filter(pk=feed.pk).update(history=secrets.randbits(62))


def remove_triggers(using: str) -> None:
    here = connections[using]
    with here.cursor() as cursor:
        cursor.execute(_TRIGGERS[here.vendor])
        for name in {name for (name,) in cursor.fetchall()} & TABLES.keys():
            on = f" ON {TABLES[name]}" if here.vendor == "postgresql" else ""
            cursor.execute(f"DROP TRIGGER {name}{on}")


def _before(sender: AppConfig, using: str, plan: list[tuple[Any, bool]], **_: Any) -> None:
    """SQLite changes a table by making it anew, and refuses while a trigger of another table names it."""
    back = any(backwards for _, backwards in plan)  # perhaps to a time without the column that the triggers set
    if sender.label == "catalog" and plan and (back or connections[using].vendor == "sqlite"):
        remove_triggers(using)


def _after(sender: AppConfig, using: str, apps: Any = global_apps, **_: Any) -> None:
    if sender.label == "catalog" and "changefeed" in apps.all_models["catalog"]:
        install_triggers(using)


pre_migrate.connect(_before)
post_migrate.connect(_after)
