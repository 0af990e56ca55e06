"""Synchronise an index with the database rows: vectors, and the attributes of their items.

The rows are the source of truth. An index stores the position up to which it has read them and continues from there.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from threading import Lock
from typing import Any, Final

import numpy as np
from django.db.models import FloatField, QuerySet
from django.db.models.functions import Cast
from more_itertools import chunked

from catalog.models import Embedding, Encoder
from catalog.models.change_feed import FROM_NOW, ChangeSet, Version, changes_since
from catalog.models.items import is_findable
from ml.search import TEXT_COLUMNS, ExactIndex, Position, Rows, SearchIndex, build_rows

WORTH_SAVING: Final = 16_384
"""Changed rows after which a new snapshot is worth writing; fewer if they are a tenth of all."""

logger = logging.getLogger(__name__)


class CatalogIndex:
    """The index of one encoder in this process's memory, brought up to date before each search. Thread-safe.

    It holds only the vectors of items that can be found.
    """

    batch_size = 5000  # rows, or items, per update

    def __init__(
        self,
        encoder: Encoder,
        index: SearchIndex | None = None,
        *,
        rows: QuerySet[Embedding] | None = None,
        at: datetime | None = None,
    ) -> None:
        """`index`: the index to continue with. `rows`: a subset of the encoder's embeddings, instead of all.

        `at`: an earlier time; items deleted since then are in the index.
        """
        self.encoder = encoder
        self.index = ExactIndex(encoder.name, encoder.dim) if index is None else index
        self.generation = ""  # of the snapshot that the index was loaded from
        self.unsaved = 0  # rows changed since that snapshot
        self._rows = Embedding.objects.filter(encoder=encoder) if rows is None else rows
        self._at = at
        self._applied: dict[int, Version] = {}  # versions of items that the feed will deliver again
        self._cursor = 0  # the cursor from which it will deliver them
        self._lock = Lock()

    @property
    def last_vector(self) -> int:
        """The id of the newest vector in the index."""
        return self.index.position.get("vector", 0)

    @property
    def memory(self) -> ExactIndex:
        """The index, typed as an in-memory index."""
        assert isinstance(self.index, ExactIndex)  # noqa: S101 - shared ones are never saved
        return self.index

    @property
    def is_worth_saving(self) -> bool:
        """Whether `WORTH_SAVING` rows, or a tenth of all, have changed since the last snapshot."""
        return self.unsaved >= WORTH_SAVING or self.unsaved * 10 > len(self.index)

    def refresh(self) -> SearchIndex:
        """Return the index, up to date with all committed rows. One SQL statement if nothing has changed."""
        with self._lock:
            self._apply(self._pending_changes())
            return self.index

    def forget(self, photo_ids: Iterable[int]) -> None:
        """Remove photos that were deleted."""
        self.index.update(NO_ROWS, photos=list(photo_ids))

    def adopt(self, index: SearchIndex, generation: str) -> None:
        """Replace the index by a stored copy, once the copy is up to date. Running searches keep the old index."""
        newer = CatalogIndex(self.encoder, index)
        newer.refresh()
        with self._lock:
            self.index, self.unsaved, self.generation = newer.index, newer.unsaved, generation
            self._applied, self._cursor = newer._applied, newer._cursor

    def _pending_changes(self) -> tuple[ChangeSet, list[int]] | None:
        """The next change set, and its items whose version is not applied yet; None if the index is up to date."""
        position = self.index.position
        if position:
            changes = changes_since(position.get("change", FROM_NOW), self.encoder.pk, position.get("vector", 0))
            if _continues(position, changes, self.encoder):
                if position["change"] != self._cursor:  # written by another process, or just opened
                    self._applied, self._cursor = {}, position["change"]
                items = [item for item, version in changes.changed.items() if self._applied.get(item) != version]
                return (changes, items) if items or changes.vector else None
        # All vectors will be read, with the current state of their items. The cursor is read first, so that no later
        # change is missed.
        start = changes_since(FROM_NOW, self.encoder.pk)
        return (changes_since(start.cursor, self.encoder.pk), []) if start.vector or position else None

    def _apply(
        self, pending: tuple[ChangeSet, list[int]] | None, may_continue: Callable[[], bool] = lambda: True
    ) -> bool:
        """Apply pending changes; `may_continue` is called after each batch. Return whether all are applied."""
        if pending is None:
            return True
        changes, items = pending
        position = dict(self.index.position)
        if position and not _continues(position, changes, self.encoder):
            logger.warning("The index of %s does not belong to these rows and is rebuilt.", self.encoder)
            self._start_over()
            position = {}
        position |= {"history": changes.feed_id, "encoder": self.encoder.pk}
        return self._apply_at_once(changes, items, position) or self._apply_in_batches(
            changes, items, position, may_continue
        )

    def _apply_at_once(self, changes: ChangeSet, items: list[int], position: dict[str, int]) -> bool:
        """Apply a small change set atomically; return False when it is too large.

        Applied in two steps, a query could see a half-updated item: with its new category but without its new photo.
        """
        if "vector" not in position or len(items) > self.batch_size:
            return False
        newer = self._rows.filter(pk__gt=position["vector"], pk__lte=changes.vector).values_list("item", flat=True)
        touched = {*items, *(newer.order_by()[: self.batch_size + 1] if changes.vector else ())}
        if len(touched) > self.batch_size:
            return False
        position |= {"change": changes.cursor, "vector": max(position["vector"], changes.vector)}
        self._update(self._read(self._rows.filter(item__in=touched)), items=list(touched), position=position)
        self._remember(changes)
        return True

    def _apply_in_batches(
        self, changes: ChangeSet, items: list[int], position: dict[str, int], may_continue: Callable[[], bool]
    ) -> bool:
        """Apply a large change set: first the changed items, then the new vectors, advancing the position."""
        for batch in chunked(items, self.batch_size):
            # Vectors with a higher id come with their own batches below.
            present = self._rows.filter(item__in=batch, pk__lte=position.get("vector", 0))
            self._update(self._read(present), items=batch)
            self._applied |= {item: changes.changed[item] for item in batch}
            if not may_continue():
                return (
                    False  # the position is unchanged: the feed delivers these items again, and `_applied` skips them
                )
        position |= {"change": changes.cursor, "vector": position.get("vector", 0)}
        self._remember(changes)
        if not changes.vector:
            self._update([], position=position)
        while position["vector"] < changes.vector:
            rows = self._rows.filter(pk__gt=position["vector"], pk__lte=changes.vector)
            part = list(self._read(rows)[: self.batch_size])
            position["vector"] = part[-1][0] if len(part) == self.batch_size else changes.vector
            self._update(part, position=position)
            if not may_continue():
                return position["vector"] == changes.vector
        return True

    def _remember(self, changes: ChangeSet) -> None:
        self._applied = {item: version for item, version in changes.changed.items() if version[0] >= changes.cursor}
        self._cursor = changes.cursor

    def _start_over(self) -> None:
        self.index = type(self.index)(self.encoder.name, self.encoder.dim)  # running searches keep the old index
        self.unsaved = 0

    def _read(self, rows: QuerySet[Embedding]) -> Any:
        """Return the rows that belong into the index (findable items), in the format of `_update`, by ascending id."""
        price = Cast("item__price", FloatField())
        return rows.filter(is_findable(self._at, "item__")).order_by("pk").values_list(*_COLUMNS, price)

    def _update(
        self, rows: Iterable[Any], *, items: Sequence[int] = (), position: dict[str, int] | None = None
    ) -> None:
        """Replace all rows of `items` by `rows`, add the other rows, and set `position`."""
        values = list(rows)
        self.index.update(_build_rows(values), items=items, position=position)
        self.unsaved += max(len(values), len(items))


_COLUMNS: Final = ("pk", "photo_id", "item_id", "vector", "item__in_stock", *(f"item__{name}" for name in TEXT_COLUMNS))


def _build_rows(values: list[Any]) -> Rows:
    if not values:
        return NO_ROWS
    _, photos, items, vectors, in_stock, *texts, prices = zip(*values, strict=True)
    matrix = np.frombuffer(b"".join(map(bytes, vectors)), dtype="<f4").reshape(len(values), -1)
    columns = dict(zip(TEXT_COLUMNS, texts, strict=True))
    return build_rows(photos, items, matrix, in_stock=in_stock, price=prices, **columns)


NO_ROWS: Final = build_rows([], [], [])


def _continues(position: Position, changes: ChangeSet, encoder: Encoder) -> bool:
    """Whether a change set continues an index at this position; otherwise the index must be rebuilt."""
    is_same_feed = (position.get("history"), position.get("encoder")) == (changes.feed_id, encoder.pk)
    return is_same_feed and "vector" in position and position.get("change", FROM_NOW) <= changes.cursor
