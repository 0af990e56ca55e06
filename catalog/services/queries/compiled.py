"""SELECTs that are asked so often that making their SQL anew each time would cost more than all else about them."""

import threading
from collections.abc import Callable
from typing import Any, Generic, TypeVar
from uuid import UUID, uuid4

from django.db import connections
from django.db.models import Model, QuerySet

Row = TypeVar("Row", bound=Model)


class CompiledQuery(threading.local, Generic[Row]):
    """The rows that a queryset finds for a UUID: `make` says which queryset, once in each thread.

    Django compiles a queryset whenever it is used, and with a few joins that takes several times as long as the
    database needs. Here it is compiled once for each thread, as a compiler belongs to a connection; then only the
    value changes. What `prefetch_related` would bring is a SELECT of its own.
    """

    def __init__(self, make: Callable[[UUID], QuerySet[Row]]) -> None:  # called in each thread anew
        self._make = make
        self._queryset: QuerySet[Row] | None = None
        self._sql, self._params, self._place = "", [Any], 0

    def rows(self, value: UUID) -> list[Row]:
        queryset = self._compiled() if self._queryset is None else self._queryset
        self._params[self._place] = _as_stored(value, queryset.db)
        return list(queryset.all())

    def row(self, value: UUID) -> Row | None:
        """The first of them, if there is one."""
        return next(iter(self.rows(value)), None)

    def _compiled(self) -> QuerySet[Row]:
        example = uuid4()
        queryset = self._make(example)
        compiler = queryset.query.get_compiler(queryset.db)
        self._sql, params = compiler.as_sql()
        self._params = list(params)
        self._place = self._params.index(_as_stored(example, queryset.db))
        # From here on whoever wants to run the queryset gets this compiler, which gives its SQL without making it.
        compiler.as_sql = lambda *_, **__: (self._sql, tuple(self._params))
        queryset.query.get_compiler = lambda *_, **__: compiler  # type: ignore[method-assign]
        self._queryset = queryset
        return queryset


def _as_stored(value: UUID, database: str) -> Any:
    return value if connections[database].features.has_native_uuid_field else value.hex
