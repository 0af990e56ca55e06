"""An index that follows the rows: which vectors there are, of which items, and what is known of these.

The rows are the truth. An index knows how far it has read them (its position), and reads on from there.
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
from catalog.models.change_feed import FROM_NOW, Mark, News, news_since
from catalog.models.items import is_findable
from ml.search import TEXTS, ExactIndex, Position, Rows, SearchIndex, rows_of

WORTH_SAVING: Final = 16_384
"""Rows changed since the last snapshot that are worth another; fewer if they are a tenth of all."""

logger = logging.getLogger(__name__)


class CatalogIndex:
    """The vectors of one encoder in this process's memory, brought up to date before each search.

    Only those of items that may be found are in it.
    """

    part = 5000  # rows, or items, at a time

    def __init__(
        self,
        encoder: Encoder,
        index: SearchIndex | None = None,
        *,
        rows: QuerySet[Embedding] | None = None,
        at: datetime | None = None,
    ) -> None:
        """`index`: one to go on with. `rows`: some of the encoder's embeddings, instead of all of them.

        `at` an earlier moment: with the items that were deleted since then.
        """
        self.encoder = encoder
        self.index = ExactIndex(encoder.name, encoder.dim) if index is None else index
        self.generation = ""  # of the snapshot that it was read from
        self.unsaved = 0  # rows that are not in that
        self._rows = Embedding.objects.filter(encoder=encoder) if rows is None else rows
        self._at = at
        self._taken: dict[int, Mark] = {}  # items that will be told again, with the marks they had
        self._marker = 0  # the place from which on they will be
        self._lock = Lock()

    @property
    def last_vector(self) -> int:
        """The id of the newest vector that it knows of."""
        return self.index.position.get("vector", 0)

    @property
    def memory(self) -> ExactIndex:
        """The index, of those that are in memory."""
        assert isinstance(self.index, ExactIndex)  # noqa: S101 - shared ones are never saved
        return self.index

    @property
    def is_worth_saving(self) -> bool:
        return self.unsaved >= WORTH_SAVING or self.unsaved * 10 > len(self.index)

    def refresh(self) -> SearchIndex:
        """The index with all that is committed by now. One statement where there is nothing new."""
        with self._lock:
            self._take_in(self._news())
            return self.index

    def forget(self, photo_ids: Iterable[int]) -> None:
        """Take out photos that are gone for ever."""
        self.index.update(NO_ROWS, photos=list(photo_ids))

    def adopt(self, index: SearchIndex, generation: str) -> None:
        """Go on with a stored copy, once that is up to date. Who searches the other meanwhile is not disturbed."""
        newer = CatalogIndex(self.encoder, index)
        newer.refresh()
        with self._lock:
            self.index, self.unsaved, self.generation = newer.index, newer.unsaved, generation
            self._taken, self._marker = newer._taken, newer._marker

    def _news(self) -> tuple[News, list[int]] | None:
        """The news, and which of the items have changed since they were taken in; None if there is nothing to do."""
        known = self.index.position
        if known:
            news = news_since(known.get("change", FROM_NOW), self.encoder.pk, known.get("vector", 0))
            if _goes_on(known, news, self.encoder):
                if known["change"] != self._marker:  # others have written since, or it was just opened
                    self._taken, self._marker = {}, known["change"]
                items = [item for item, mark in news.changed.items() if self._taken.get(item) != mark]
                return (news, items) if items or news.vector else None
        # All vectors will be read, with the items as they are then; nothing that changes from now on may be missed.
        start = news_since(FROM_NOW, self.encoder.pk)
        return (news_since(start.marker, self.encoder.pk), []) if start.vector or known else None

    def _take_in(self, found: tuple[News, list[int]] | None, may_go_on: Callable[[], bool] = lambda: True) -> bool:
        """Bring the index up to the news; `may_go_on` is asked after each part. Returns whether nothing is left."""
        if found is None:
            return True
        news, items = found
        position = dict(self.index.position)
        if position and not _goes_on(position, news, self.encoder):
            logger.warning("The index of %s does not belong to these rows, so it is made anew.", self.encoder)
            self._start_over()
            position = {}
        position |= {"history": news.history, "encoder": self.encoder.pk}
        return self._take_in_few(news, items, position) or self._take_in_parts(news, items, position, may_go_on)

    def _take_in_few(self, news: News, items: list[int], position: dict[str, int]) -> bool:
        """Take in at once what is new, each item as it was at one moment, with all its photos. False if it is much.

        One that is told its new category now and its new photo later would be found as it never was. Where it is much,
        that may happen for as long as it takes.
        """
        if "vector" not in position or len(items) > self.part:
            return False
        newer = self._rows.filter(pk__gt=position["vector"], pk__lte=news.vector).values_list("item", flat=True)
        touched = {*items, *(newer.order_by()[: self.part + 1] if news.vector else ())}
        if len(touched) > self.part:
            return False
        position |= {"change": news.marker, "vector": max(position["vector"], news.vector)}
        self._put(self._read(self._rows.filter(item__in=touched)), items=list(touched), position=position)
        self._remember(news)
        return True

    def _take_in_parts(
        self, news: News, items: list[int], position: dict[str, int], may_go_on: Callable[[], bool]
    ) -> bool:
        for some in chunked(items, self.part):
            # Those of later vectors come with these, below.
            known = self._rows.filter(item__in=some, pk__lte=position.get("vector", 0))
            self._put(self._read(known), items=some)
            self._taken |= {item: news.changed[item] for item in some}
            if not may_go_on():
                return False  # the position is what it was, so they are told again, and recognised
        position |= {"change": news.marker, "vector": position.get("vector", 0)}
        self._remember(news)
        if not news.vector:
            self._put([], position=position)
        while position["vector"] < news.vector:
            rows = self._rows.filter(pk__gt=position["vector"], pk__lte=news.vector)
            part = list(self._read(rows)[: self.part])
            position["vector"] = part[-1][0] if len(part) == self.part else news.vector
            self._put(part, position=position)
            if not may_go_on():
                return position["vector"] == news.vector
        return True

    def _remember(self, news: News) -> None:
        self._taken = {item: mark for item, mark in news.changed.items() if mark[0] >= news.marker}
        self._marker = news.marker

    def _start_over(self) -> None:
        self.index = type(self.index)(self.encoder.name, self.encoder.dim)  # who searches the old one is not disturbed
        self.unsaved = 0

    def _read(self, rows: QuerySet[Embedding]) -> Any:
        """Those rows that belong into the index, as `_put` takes them, in the order of their ids."""
        price = Cast("item__price", FloatField())
        return rows.filter(is_findable(self._at, "item__")).order_by("pk").values_list(*_COLUMNS, price)

    def _put(self, rows: Iterable[Any], *, items: Sequence[int] = (), position: dict[str, int] | None = None) -> None:
        found = list(rows)
        self.index.update(_as_rows(found), items=items, position=position)
        self.unsaved += max(len(found), len(items))


_COLUMNS: Final = ("pk", "photo_id", "item_id", "vector", "item__in_stock", *(f"item__{name}" for name in TEXTS))


def _as_rows(found: list[Any]) -> Rows:
    if not found:
        return NO_ROWS
    _, photos, items, vectors, in_stock, *texts, prices = zip(*found, strict=True)
    matrix = np.frombuffer(b"".join(map(bytes, vectors)), dtype="<f4").reshape(len(found), -1)
    facts = dict(zip(TEXTS, texts, strict=True))
    return rows_of(photos, items, matrix, in_stock=in_stock, price=prices, **facts)


NO_ROWS: Final = rows_of([], [], [])


def _goes_on(position: Position, news: News, encoder: Encoder) -> bool:
    """Whether the news follow what an index with this position knows."""
    same = (position.get("history"), position.get("encoder")) == (news.history, encoder.pk)
    return same and "vector" in position and position.get("change", FROM_NOW) <= news.marker
