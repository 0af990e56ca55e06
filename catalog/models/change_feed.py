"""Change feed of the catalogue (change data capture): search indexes follow it without reading every row.

Database triggers set `CatalogItem.changed` at every write, so that bulk updates and plain SQL are captured as well.
They stay installed after every `migrate`, which installs them again: SQLite changes a table by rebuilding it, and a
rebuilt table has lost its triggers.
"""

import secrets
from typing import Any, Final, NamedTuple

from django.apps import AppConfig
from django.apps import apps as global_apps
from django.db import connection, connections, models, transaction
from django.db.models.signals import post_migrate, pre_migrate

FROM_NOW: Final = 2**63 - 1
"""A cursor after every version: no changes, only the feed's present state."""

TABLES: Final = {
    "catalog_item_added": "catalog_catalogitem",
    "catalog_item_changed": "catalog_catalogitem",
    "catalog_item_removed": "catalog_catalogitem",
    "catalog_photo_deleted": "catalog_itemphoto",
}
"""Table of each trigger."""


class ChangeFeed(models.Model):
    """State of the change feed, in a single row.

    `history` is the feed's id, a random number that changes when earlier versions become invalid. `last` is the highest
    version on SQLite; PostgreSQL uses its transaction ids instead.
    """

    history = models.BigIntegerField(default=0)
    last = models.BigIntegerField(default=0)

    def __str__(self) -> str:
        return f"feed {self.history}, version {self.last}"


Version = tuple[int, str]
"""Version of an item: `CatalogItem.changed`, and what distinguishes several writes of the same transaction."""


class RemovedItem(models.Model):
    """Tombstone of an item that was removed from the database; `changed` is a version as `CatalogItem.changed`."""

    item = models.BigIntegerField()
    changed = models.BigIntegerField(db_index=True)

    def __str__(self) -> str:
        return f"item {self.item}, removed at {self.changed}"


class ChangeSet(NamedTuple):
    """Changes since a cursor: the versions of the changed items, and the id of an encoder's newest vector (0: none).

    `cursor` is the start of the next read. Delivery is at-least-once: an item may be delivered again with the same
    version. A `cursor` below that of the previous read, or another `feed_id`, means: rebuild the index.
    """

    feed_id: int
    cursor: int
    vector: int
    changed: dict[int, Version]


# PostgreSQL assigns a transaction id at the first write, so a transaction with a lower id may commit after one with a
# higher id, and "ids above the highest seen" would miss it. The cursor is therefore the lowest id that was still
# running in the snapshot that was read: every transaction that the snapshot could not see has that id or a higher one.
# SQLite has one writer at a time, so its versions are in the order of commits.
_CURSOR: Final = {"postgresql": "pg_snapshot_xmin(pg_current_snapshot())::text::bigint", "sqlite": "last + 1"}
_VERSION: Final = {"postgresql": "ctid::text", "sqlite": "''"}

_CHANGES: Final = """
SELECT 0, history, {cursor}, '' FROM catalog_changefeed
UNION ALL SELECT 1, coalesce(max(id), 0), 0, '' FROM catalog_embedding WHERE encoder_id = %s AND id > %s
UNION ALL SELECT 2, id, changed, {version} FROM catalog_catalogitem WHERE changed >= %s
UNION ALL SELECT 2, item, changed, 'removed' FROM catalog_removeditem WHERE changed >= %s
"""


def changes_since(cursor: int, encoder_id: int = 0, vector: int = 0) -> ChangeSet:
    """Read the changes since a cursor, and whether the encoder has vectors with a higher id than `vector`.

    One statement, so that the whole answer is of one snapshot.
    """
    statement = _CHANGES.format(cursor=_CURSOR[connection.vendor], version=_VERSION[connection.vendor])
    with connection.cursor() as database_cursor:
        database_cursor.execute(statement, [encoder_id, vector, cursor, cursor])
        rows: list[tuple[int, int, int, str]] = database_cursor.fetchall()
    feed_id, next_cursor = next(((pk, changed) for kind, pk, changed, _ in rows if kind == 0), (0, 0))
    newest = next(pk for kind, pk, *_ in rows if kind == 1)
    changed = {pk: (changed, write) for kind, pk, changed, write in rows if kind == 2}
    return ChangeSet(feed_id, next_cursor, newest, changed)


# `coalesce`: when every table is emptied, as between tests, the feed's own row may go first.
_SQLITE: Final = (
    """
    CREATE TRIGGER IF NOT EXISTS catalog_item_added AFTER INSERT ON catalog_catalogitem BEGIN
        UPDATE catalog_changefeed SET last = last + 1;
        UPDATE catalog_catalogitem SET changed = coalesce((SELECT last FROM catalog_changefeed), 0) WHERE id = NEW.id;
    END
    """,
    # Saving a row as it was read writes its old version back. Only the trigger itself raises versions.
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

# Versions that this database has not assigned: it was replaced by a copy of another one.
_RESET_FOREIGN_VERSIONS: Final = {
    "postgresql": "UPDATE catalog_catalogitem SET changed = 0"
    " WHERE changed > pg_snapshot_xmax(pg_current_snapshot())::text::bigint",
    "sqlite": "UPDATE catalog_catalogitem SET changed = 0 WHERE changed > (SELECT last FROM catalog_changefeed)",
}


def install_triggers(using: str) -> None:
    """Install the triggers. Idempotent.

    Where a trigger was missing, or versions come from another database, changes may have been missed: the feed gets a
    new id, so that every index is rebuilt.
    """
    database = connections[using]
    with transaction.atomic(using), database.cursor() as cursor:
        cursor.execute(_TRIGGERS[database.vendor])
        are_complete = {name for (name,) in cursor.fetchall()} >= TABLES.keys()
        for statement in _POSTGRESQL if database.vendor == "postgresql" else _SQLITE:
            cursor.execute(statement)
        feed, is_new = ChangeFeed.objects.using(using).get_or_create(pk=1)
        cursor.execute(_RESET_FOREIGN_VERSIONS[database.vendor])
        if is_new or not are_complete or cursor.rowcount:
            RemovedItem.objects.using(using).all().delete()
            ChangeFeed.objects.using(using).filter(pk=feed.pk).update(history=secrets.randbits(62))


def remove_triggers(using: str) -> None:
    """Drop the triggers; `install_triggers` starts a new feed id afterwards."""
    database = connections[using]
    with database.cursor() as cursor:
        cursor.execute(_TRIGGERS[database.vendor])
        for name in {name for (name,) in cursor.fetchall()} & TABLES.keys():
            on = f" ON {TABLES[name]}" if database.vendor == "postgresql" else ""
            cursor.execute(f"DROP TRIGGER {name}{on}")


def _drop_before_migrate(sender: AppConfig, using: str, plan: list[tuple[Any, bool]], **_: Any) -> None:
    """Drop the triggers before migrations: SQLite refuses to rebuild a table that a trigger of another table names."""
    is_backwards = any(backwards for _, backwards in plan)  # perhaps to before the column that the triggers set
    if sender.label == "catalog" and plan and (is_backwards or connections[using].vendor == "sqlite"):
        remove_triggers(using)


def _install_after_migrate(sender: AppConfig, using: str, apps: Any = global_apps, **_: Any) -> None:
    if sender.label == "catalog" and "changefeed" in apps.all_models["catalog"]:
        install_triggers(using)


pre_migrate.connect(_drop_before_migrate)
post_migrate.connect(_install_after_migrate)
