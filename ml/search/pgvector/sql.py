"""What it takes to talk to a PostgreSQL with pgvector: errors with names, vectors on the way, and asking for enough."""

import hashlib
import math
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, LiteralString

import numpy as np
import numpy.typing as npt
import psycopg
from psycopg import errors, sql
from psycopg.adapt import AdaptersMap, Buffer, Dumper, Loader
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import Format
from psycopg.types import TypeInfo

from ml.search.hits import ROUNDING, Hit, IndexUnavailable, IndexUnreadable, SearchError, best_hits
from ml.search.rows import Ints, Where
from ml.vectors import Floats

Connection = psycopg.Connection[tuple[Any, ...]]
Cursor = psycopg.Cursor[tuple[Any, ...]]

FIRST_POOL = 64
"""Rows looked at in full by the first attempt, at least: more than asked for, since items may have several photos."""

LONGEST_WORD = 500
"""Letters of a word that is kept as it is; PostgreSQL indexes no text of more than about 2,700 bytes."""

COMPARISONS: Final[Mapping[str, LiteralString]] = {
    "min_price": "price >= %(min_price)s",
    "max_price": "price <= %(max_price)s",
    "in_stock": "in_stock = %(in_stock)s",
}
"""The facts that are not compared for being the same, in SQL."""


class DatabaseNotReady(SearchError):
    """The database lacks what only its owner can give: the extension, a right, or a newer version."""


def with_patience(database: str, seconds: float) -> str:
    """The address of a database with the time in which it has to answer, unless it names one itself."""
    try:
        given = conninfo_to_dict(database)
    except psycopg.ProgrammingError:  # which may repeat a password
        raise IndexUnavailable("The address of the database is neither a URL nor libpq keywords.") from None
    options: dict[str, Any] = {"connect_timeout": math.ceil(seconds), "application_name": "photo vectors", **given}
    return make_conninfo(**options)


@contextmanager
def plain_errors() -> Iterator[None]:
    """What the database says, in errors with names."""
    try:
        yield
    except errors.UndefinedTable as error:
        raise IndexUnreadable("The tables of the index are gone: it has to be opened anew, and filled.") from error
    except errors.InsufficientPrivilege as error:
        raise DatabaseNotReady(f"The database's owner must give its user a right: {_line(error)}.") from error
    except (psycopg.OperationalError, psycopg.InterfaceError, errors.ReadOnlySqlTransaction) as error:
        raise IndexUnavailable(f"The database with the vectors cannot be used now: {_line(error)}.") from error


def _line(error: Exception) -> str:
    return str(error).partition("\n")[0].rstrip(". ") or type(error).__name__


class _VectorDumper(Dumper):
    """float32 (d) as pgvector takes it: how many numbers, a reserved 0, the numbers, each with its high byte first."""

    format = Format.BINARY

    def dump(self, obj: Floats) -> bytes:
        return struct.pack(">HH", len(obj), 0) + obj.astype(">f4").tobytes()


class _VectorLoader(Loader):
    """The same, read."""

    format = Format.BINARY

    def load(self, data: Buffer) -> npt.NDArray[np.floating]:
        return np.frombuffer(data, dtype=">f4", offset=4)


def adapters_of(connection: Connection) -> AdaptersMap:
    """How vectors travel to and from this database, once the extension is in it."""
    cursor = connection.execute("SELECT extversion FROM pg_extension WHERE extname = 'vector'")
    version = (cursor.fetchone() or (None,))[0]
    if version is None:
        try:
            connection.execute("CREATE EXTENSION vector")
        except (errors.InsufficientPrivilege, errors.FeatureNotSupported, errors.UndefinedFile) as error:
            raise DatabaseNotReady(
                "The database lacks the extension pgvector: its owner must install pgvector 0.8 or newer on the server "
                'and say "CREATE EXTENSION vector" in this database.'
            ) from error
        return adapters_of(connection)
    if tuple(int(part) for part in version.split(".")[:2]) < (0, 8):
        raise DatabaseNotReady(
            f"The database has pgvector {version}: its owner must install 0.8 or newer on the server and say "
            '"ALTER EXTENSION vector UPDATE" in this database.'
        )
    vector = TypeInfo.fetch(connection, "vector")
    if vector is None:
        raise DatabaseNotReady("The schema of the extension pgvector is not in the search_path of the database's user.")
    adapters = AdaptersMap(psycopg.adapters)
    vector.register(adapters)
    adapters.register_dumper(np.ndarray, type("_VectorDumper", (_VectorDumper,), {"oid": vector.oid}))
    adapters.register_loader(vector.oid, _VectorLoader)
    return adapters


def one(cursor: Cursor) -> Any:
    """The one value that was asked for."""
    row = cursor.fetchone()
    if row is None:
        raise IndexUnreadable("The database's list of indexes has lost this one: it has to be opened anew.")
    return row[0]


def stored_word(word: str) -> str:
    """A word as it can be kept: PostgreSQL takes no NUL, nothing that is not Unicode, and indexes nothing long."""
    no_text = any(letter == "\x00" or "\ud800" <= letter <= "\udfff" for letter in word)
    if len(word) <= LONGEST_WORD and not no_text and not word.startswith("sha256:"):
        return word
    return f"sha256:{hashlib.sha256(word.encode('utf-8', 'surrogatepass')).hexdigest()}"


def condition_of(where: Where) -> tuple[sql.Composable, dict[str, Any]]:
    """`where` in SQL, and the values of its placeholders."""
    texts = {name: stored_word(word) for name, word in where.texts.items()}
    parts: list[sql.Composable] = [
        sql.SQL("{} = {}").format(sql.Identifier(name), sql.Placeholder(name)) for name in texts
    ]
    asked: dict[str, Any] = dict(texts)
    for name, part in COMPARISONS.items():
        if (value := getattr(where, name)) is not None:
            parts.append(sql.SQL(part))
            asked[name] = value if name == "in_stock" else float(value)
    return sql.SQL(" AND ").join(parts) if parts else sql.SQL("true"), asked


def read_rows(cursor: Cursor, dim: int) -> tuple[Ints, Ints, Floats]:
    """Photo ids (n), item ids (n) and vectors (n, d) of rows that hold these."""
    rows = cursor.fetchall()
    if not rows:
        return np.empty(0, np.int64), np.empty(0, np.int64), np.empty((0, dim), np.float32)
    photos, items, vectors = zip(*rows, strict=True)
    return np.array(photos, np.int64), np.array(items, np.int64), np.array(vectors, np.float32)


@dataclass(frozen=True)
class Searching:
    """The statements of one search: `proposed` by the graph, where there is one to ask, and the `nearest` of all."""

    cursor: Cursor
    dim: int
    proposed: sql.Composed | None
    nearest: sql.Composed
    asked: dict[str, Any]
    k: int

    def hits(self, query: Floats) -> list[Hit]:
        proposed = self._proposed(self.proposed, query) if self.proposed is not None else None
        return self._compared(query) if proposed is None else proposed

    def _proposed(self, statement: sql.Composed, query: Floats) -> list[Hit] | None:
        """The best of what the graph proposes; None where its walk ends before there is enough."""
        pool = first_pool(self.k)
        while True:
            photos, items, vectors = self._rows(statement, query, pool)
            if len(photos) < pool:
                return None
            hits = best_hits(items, photos, vectors, query, self.k)
            if len(hits) == self.k:
                return hits
            pool *= 4

    def _compared(self, query: Floats) -> list[Hit]:
        """The best of all, exactly: the rows that were not fetched cannot come near the last hit."""
        pool = first_pool(self.k)
        while True:
            photos, items, vectors = self._rows(self.nearest, query, pool)
            hits = best_hits(items, photos, vectors, query, self.k)
            if len(photos) < pool:
                return hits
            if len(hits) == self.k and hits[-1].score > float(vectors[-1] @ query) + ROUNDING:
                return hits
            pool *= 4

    def _rows(self, statement: sql.Composed, query: Floats, pool: int) -> tuple[Ints, Ints, Floats]:
        self.cursor.execute(statement, {**self.asked, "query": query, "pool": pool})
        return read_rows(self.cursor, self.dim)


def first_pool(k: int) -> int:
    """How many rows the first attempt to find `k` items looks at."""
    return max(FIRST_POOL, 3 * k)
