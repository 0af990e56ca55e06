"""SQL layer of the pgvector index: error translation, vector adapters, filter conditions and search statements."""

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

MIN_CANDIDATES = 64
"""Fewest rows fetched by the first attempt: more than k, because items may have several photos."""

MAX_WORD = 500
"""Longest word stored unhashed, in characters; PostgreSQL cannot index a text of more than about 2,700 bytes."""

COMPARISONS: Final[Mapping[str, LiteralString]] = {
    "min_price": "price >= %(min_price)s",
    "max_price": "price <= %(max_price)s",
    "in_stock": "in_stock = %(in_stock)s",
}
"""The filters other than equality of a text, in SQL."""


class DatabaseNotReady(SearchError):
    """The database lacks something that only its owner can provide: the extension, a privilege or a newer version."""

    code = "database_not_ready"


def with_timeout(database: str, seconds: float) -> str:
    """Return the address of a database with a connection timeout, unless it has one. Raises `IndexUnavailable`."""
    try:
        keywords = conninfo_to_dict(database)
    except psycopg.ProgrammingError:  # its message may contain a password
        raise IndexUnavailable(
            "The address of the database is neither a URL nor libpq keywords.", code="database_address"
        ) from None
    options: dict[str, Any] = {"connect_timeout": math.ceil(seconds), "application_name": "photo vectors", **keywords}
    return make_conninfo(**options)


@contextmanager
def translated_errors() -> Iterator[None]:
    """Translate errors of psycopg into `SearchError`s."""
    try:
        yield
    except errors.UndefinedTable as error:
        raise IndexUnreadable("The tables of the index were dropped: open the index again, then fill it.") from error
    except errors.InsufficientPrivilege as error:
        raise DatabaseNotReady(
            f"The database's owner must grant its user a privilege: {_first_line(error)}.", code="database_privilege"
        ) from error
    except (psycopg.OperationalError, psycopg.InterfaceError, errors.ReadOnlySqlTransaction) as error:
        raise IndexUnavailable(f"The database with the vectors cannot be used now: {_first_line(error)}.") from error


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0].rstrip(". ") or type(error).__name__


class _VectorDumper(Dumper):
    """Write float32 (d) in pgvector's binary format: the length and a reserved 0 as uint16, then big-endian floats."""

    format = Format.BINARY

    def dump(self, obj: Floats) -> bytes:
        return struct.pack(">HH", len(obj), 0) + obj.astype(">f4").tobytes()


class _VectorLoader(Loader):
    """Read float32 (d) from pgvector's binary format."""

    format = Format.BINARY

    def load(self, data: Buffer) -> npt.NDArray[np.floating]:
        return np.frombuffer(data, dtype=">f4", offset=4)


def vector_adapters(connection: Connection) -> AdaptersMap:
    """Create the extension if needed, and return adapters for vectors. Raises `DatabaseNotReady`."""
    cursor = connection.execute("SELECT extversion FROM pg_extension WHERE extname = 'vector'")
    version = (cursor.fetchone() or (None,))[0]
    if version is None:
        try:
            connection.execute("CREATE EXTENSION vector")
        except (errors.InsufficientPrivilege, errors.FeatureNotSupported, errors.UndefinedFile) as error:
            raise DatabaseNotReady(
                "The database lacks the extension pgvector: its owner must install pgvector 0.8 or newer on the server "
                'and run "CREATE EXTENSION vector" in this database.',
                code="pgvector_missing",
            ) from error
        return vector_adapters(connection)
    if tuple(int(part) for part in version.split(".")[:2]) < (0, 8):
        raise DatabaseNotReady(
            f"The database has pgvector {version}: its owner must install 0.8 or newer on the server and run "
            '"ALTER EXTENSION vector UPDATE" in this database.',
            code="pgvector_too_old",
        )
    vector = TypeInfo.fetch(connection, "vector")
    if vector is None:
        raise DatabaseNotReady(
            "The schema of the extension pgvector is not in the search_path of the database's user.",
            code="pgvector_not_in_search_path",
        )
    adapters = AdaptersMap(psycopg.adapters)
    vector.register(adapters)
    adapters.register_dumper(np.ndarray, type("_VectorDumper", (_VectorDumper,), {"oid": vector.oid}))
    adapters.register_loader(vector.oid, _VectorLoader)
    return adapters


def fetch_value(cursor: Cursor) -> Any:
    """Return the single value of a result. Raises `IndexUnreadable` if there is no row."""
    row = cursor.fetchone()
    if row is None:
        raise IndexUnreadable("The index is missing from photo_vector_indexes: open it again, then fill it.")
    return row[0]


def stored_word(word: str) -> str:
    """Return `word`, or its hash if PostgreSQL cannot store or index it: NUL, surrogates, and long texts."""
    is_unstorable = any(letter == "\x00" or "\ud800" <= letter <= "\udfff" for letter in word)
    if len(word) <= MAX_WORD and not is_unstorable and not word.startswith("sha256:"):
        return word
    return f"sha256:{hashlib.sha256(word.encode('utf-8', 'surrogatepass')).hexdigest()}"


def build_condition(where: Where) -> tuple[sql.Composable, dict[str, Any]]:
    """Return `where` as an SQL condition, and the values of its placeholders."""
    texts = {name: stored_word(word) for name, word in where.texts.items()}
    parts: list[sql.Composable] = [
        sql.SQL("{} = {}").format(sql.Identifier(name), sql.Placeholder(name)) for name in texts
    ]
    parameters: dict[str, Any] = dict(texts)
    for name, part in COMPARISONS.items():
        if (value := getattr(where, name)) is not None:
            parts.append(sql.SQL(part))
            parameters[name] = value if name == "in_stock" else float(value)
    return sql.SQL(" AND ").join(parts) if parts else sql.SQL("true"), parameters


def read_rows(cursor: Cursor, dim: int) -> tuple[Ints, Ints, Floats]:
    """Return photo ids (n), item ids (n) and vectors (n, d) of a result with these three columns."""
    rows = cursor.fetchall()
    if not rows:
        return np.empty(0, np.int64), np.empty(0, np.int64), np.empty((0, dim), np.float32)
    photos, items, vectors = zip(*rows, strict=True)
    return np.array(photos, np.int64), np.array(items, np.int64), np.array(vectors, np.float32)


@dataclass(frozen=True)
class Search:
    """The statements of one search: `graph` (None: not suitable) and `brute_force` over all matching rows."""

    cursor: Cursor
    dim: int
    graph: sql.Composed | None
    brute_force: sql.Composed
    parameters: dict[str, Any]
    k: int

    def hits(self, query: Floats) -> list[Hit]:
        """Return the best `k` items for a query."""
        hits = self._graph_hits(self.graph, query) if self.graph is not None else None
        return self._brute_force_hits(query) if hits is None else hits

    def _graph_hits(self, statement: sql.Composed, query: Floats) -> list[Hit] | None:
        """Return the best candidates of the graph; None if its search ends with too few candidates."""
        candidates = initial_candidates(self.k)
        while True:
            photos, items, vectors = self._rows(statement, query, candidates)
            if len(photos) < candidates:
                return None
            hits = best_hits(items, photos, vectors, query, self.k)
            if len(hits) == self.k:
                return hits
            candidates *= 4

    def _brute_force_hits(self, query: Floats) -> list[Hit]:
        """Return the exact best of all matching rows: rows that were not fetched score below the last hit."""
        candidates = initial_candidates(self.k)
        while True:
            photos, items, vectors = self._rows(self.brute_force, query, candidates)
            hits = best_hits(items, photos, vectors, query, self.k)
            if len(photos) < candidates:
                return hits
            if len(hits) == self.k and hits[-1].score > float(vectors[-1] @ query) + ROUNDING:
                return hits
            candidates *= 4

    def _rows(self, statement: sql.Composed, query: Floats, candidates: int) -> tuple[Ints, Ints, Floats]:
        self.cursor.execute(statement, {**self.parameters, "query": query, "candidates": candidates})
        return read_rows(self.cursor, self.dim)


def initial_candidates(k: int) -> int:
    """Return how many rows the first attempt to find `k` items fetches."""
    return max(MIN_CANDIDATES, 3 * k)
