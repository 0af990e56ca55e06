"""The vectors inside PostgreSQL, with the extension pgvector: near, not exact, and nothing to run beside the database.

Each encoder has a table of its own. A float32 vector is kept as it was given; once there are many rows, `compact`
builds a graph (HNSW) of them rounded to float16. A search lets the graph propose more rows than are asked for and
scores these in full. Where the graph proposes too few, since the filter fits few of the rows that it came by, every row
that fits is compared instead: the facts have indexes, and such an answer is exact.
"""

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, LiteralString

import numpy as np
import numpy.typing as npt
import psycopg
from psycopg import IsolationLevel, errors, sql
from psycopg_pool import ConnectionPool

from ml.search.hits import EncoderMismatch, Hit, IndexUnreadable, UnknownPhotoError
from ml.search.interface import Position, SearchIndex
from ml.search.pgvector.sql import (
    Connection,
    Cursor,
    Searching,
    adapters_of,
    condition_of,
    first_pool,
    one,
    plain_errors,
    read_rows,
    stored_word,
    with_patience,
)
from ml.search.rows import TEXTS, Bools, Ints, Rows, Where, as_ids, compared
from ml.vectors import Floats, ShapeError

GRAPH_FROM = 20_000
"""Rows from which a graph is worth its building, or asking for what fits a filter: comparing fewer is about as fast."""

MAX_DIM = 16_000
"""The longest vectors that pgvector keeps."""

GRAPH_MAX_DIM = 4000
"""The longest float16 vectors of which pgvector builds a graph."""

GRAPH_WIDTH: Final = (100, 1000)
"""How many candidates a walk through the graph keeps, at least and at most (`hnsw.ef_search`)."""

GRAPH_STEPS = 20_000
"""Rows at which a walk ends, unless very many were asked for. By then comparing what fits is as fast."""

GRAPH_ROW_BYTES = 700
"""What a row takes while a graph is built, beside its vector: links to up to 32 neighbours, and its place."""

GRAPH_MEMORY: Final = (64, 2048)
"""The least and the most megabytes that the building may take."""

WORN: Final = (1000, 0.1)
"""How many deleted rows, and what share of all, are worth sweeping out."""

OPENING = int.from_bytes(hashlib.sha256(b"photo_vector_indexes").digest()[:8], signed=True)
"""The lock of whoever looks for the tables and makes them."""

ALL: Final = sql.SQL("true")

CREATE_REGISTRY: LiteralString = """
    CREATE TABLE photo_vector_indexes (name text PRIMARY KEY, encoder text NOT NULL, dim integer NOT NULL,
        position text NOT NULL)"""

CREATE_TABLE: LiteralString = """
    CREATE TABLE {table} (photo_id bigint PRIMARY KEY, item_id bigint NOT NULL, vector vector({dim}) NOT NULL,
        {words}, price double precision, in_stock boolean NOT NULL)
    WITH (toast_tuple_target = 8160)"""  # up to 2,000 numbers stay in their row, where a scan reads them fast

CREATE_GRAPH: LiteralString = """
    CREATE INDEX CONCURRENTLY {graph} ON {table} USING hnsw ((vector::halfvec({dim})) halfvec_ip_ops)"""

PROPOSED: LiteralString = """
    SELECT photo_id, item_id, vector FROM {table} WHERE {where}
    ORDER BY vector::halfvec({dim}) <#> %(query)s::vector::halfvec({dim}) LIMIT %(pool)s"""

NEAREST: LiteralString = """
    SELECT photo_id, item_id, vector FROM {table} WHERE {where} ORDER BY vector <#> %(query)s LIMIT %(pool)s"""

# Without sorting, the graph is used wherever the order is its own; what has no other way is sorted nevertheless.
SETTINGS: LiteralString = """
    SELECT set_config('hnsw.iterative_scan', 'relaxed_order', true), set_config('hnsw.ef_search', %(width)s, true),
        set_config('hnsw.max_scan_tuples', %(steps)s, true), set_config('hnsw.scan_mem_multiplier', '8', true),
        set_config('enable_sort', 'off', true), set_config('jit', 'off', true),
        coalesce((SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(%(graph)s)), false),
        (SELECT reltuples FROM pg_class WHERE oid = to_regclass(%(table)s))"""


class PgVectorIndex(SearchIndex):
    """Rows in a PostgreSQL database, for any number of processes; each has an object of its own, which threads share.

    Changes wait for each other, whoever makes them. Beside the errors of `SearchIndex`: `IndexUnreadable` once somebody
    has removed the tables under it; opening it anew makes them again, empty.
    """

    exact = False

    def __init__(
        self,
        encoder: str,
        dim: int,
        database: str,
        *,
        connections: int = 8,
        patience: float = 5.0,
        graph_from: int = GRAPH_FROM,
    ) -> None:
        """Open the index, and make its tables where there are none.

        `database`: a URL or libpq keywords. `connections`: at most so many at a time. `patience`: seconds after which
        a server that does not answer is given up. `graph_from`: with fewer rows, or fewer that fit a filter, no graph
        is asked. Raises `IndexUnavailable`, `DatabaseNotReady`, `EncoderMismatch` or `ShapeError`.
        """
        super().__init__(encoder, dim)
        if not 1 <= dim <= MAX_DIM:
            raise ShapeError(f"PostgreSQL keeps vectors of 1 to {MAX_DIM} numbers, not of {dim}.")
        digest = hashlib.sha256(encoder.encode("utf-8", "surrogatepass")).digest()
        self._name = f"photo_vectors_{digest[:8].hex()}"
        self._change_lock = int.from_bytes(digest[8:16], signed=True)
        self._compact_lock = int.from_bytes(digest[16:24], signed=True)
        self._graph_from = graph_from
        self._database = with_patience(database, patience)
        with plain_errors():
            with psycopg.connect(self._database) as connection:
                connection.execute("SELECT pg_advisory_xact_lock(%s)", [OPENING])
                adapters = adapters_of(connection)
                self._require_tables(connection)
            self._pool = ConnectionPool(
                self._database,
                kwargs={"context": adapters, "prepare_threshold": None},  # a plan has to know how rare a word is
                min_size=1,
                max_size=connections,
                timeout=patience,
                reconnect_timeout=patience,
                check=ConnectionPool.check_connection,
                open=True,
            )

    def __len__(self) -> int:
        with self._transaction() as cursor:
            return int(one(cursor.execute(self._sql("SELECT count(*) FROM {table}"))))

    @property
    def position(self) -> Position:
        with self._transaction() as cursor:
            cursor.execute("SELECT position FROM photo_vector_indexes WHERE name = %s", [self._name])
            position: Position = json.loads(one(cursor))
            return position

    def vectors_of(self, photo_ids: Sequence[int]) -> Floats:
        wanted = as_ids(photo_ids)
        with self._transaction() as cursor:
            cursor.execute(
                self._sql("SELECT photo_id, item_id, vector FROM {table} WHERE photo_id = ANY(%s)"), [wanted.tolist()]
            )
            photos, _, vectors = read_rows(cursor, self.dim)
        if missing := np.setdiff1d(wanted, photos).tolist():
            raise UnknownPhotoError(f"Photo {missing[0]} is not in the index.")
        order = np.argsort(photos)
        return vectors[order[np.searchsorted(photos, wanted, sorter=order)]]

    def contains(self, photo_ids: npt.ArrayLike) -> Bools:
        wanted = as_ids(photo_ids)
        with self._transaction() as cursor:
            cursor.execute(self._sql("SELECT photo_id FROM {table} WHERE photo_id = ANY(%s)"), [wanted.tolist()])
            return np.isin(wanted, np.array([photo for (photo,) in cursor], dtype=np.int64))

    def compact(self) -> bool:
        """Build the graph once there are `graph_from` rows, or sweep out of it what was deleted.

        What a killed building left is removed first. Nothing is done while another process is at it.
        """
        with plain_errors(), psycopg.connect(self._database, autocommit=True) as connection:
            if not one(connection.execute("SELECT pg_try_advisory_lock(%s)", [self._compact_lock])):
                return False
            connection.execute("SET statement_timeout = 0")  # one that suits searches would end every building
            graph = connection.execute(
                "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(%s)", [self._graph_name]
            ).fetchone()
            if graph == (True,):
                return self._sweep(connection)
            if graph == (False,):
                connection.execute(self._sql("DROP INDEX CONCURRENTLY {graph}"))
            rows = int(one(connection.execute(self._sql("SELECT count(*) FROM {table}"))))
            if rows < self._graph_from or self.dim > GRAPH_MAX_DIM:
                return graph is not None
            self._build_graph(connection, rows)
            return True

    def clear(self) -> None:
        """Remove every row, the graph and the position: filling an index goes faster without a graph."""
        with self._change() as cursor:
            self._set_position(cursor, {})
            try:
                with cursor.connection.transaction():
                    # While this waits for the building of a graph to end, searches would have to wait behind it.
                    cursor.execute("SET LOCAL lock_timeout = '500ms'")
                    cursor.execute(self._sql("TRUNCATE {table}"))
                    cursor.execute(self._sql("DROP INDEX IF EXISTS {graph}"))
            except errors.LockNotAvailable:
                cursor.execute(self._sql("DELETE FROM {table}"))

    def close(self) -> None:
        self._pool.close()

    def _update(self, rows: Rows, items: Ints, photos: Ints, position: Position | None) -> None:
        gone = np.union1d(photos, rows.photo_ids).tolist()
        with self._change() as cursor:
            cursor.execute(self._sql("DELETE FROM {table} WHERE photo_id = ANY(%s)"), [gone])
            cursor.execute(self._sql("DELETE FROM {table} WHERE item_id = ANY(%s)"), [items.tolist()])
            if len(rows):
                self._put(cursor, rows)
            if position is not None:
                self._set_position(cursor, position)

    def _put(self, cursor: Cursor, rows: Rows) -> None:
        texts = [[stored_word(compared(word)) for word in rows.texts[name]] for name in TEXTS]
        prices = [None if math.isnan(price) else price for price in rows.prices.tolist()]
        photos, items = rows.photo_ids.tolist(), rows.item_ids.tolist()
        with cursor.copy(self._sql("COPY {table} FROM STDIN (FORMAT BINARY)")) as copy:
            copy.set_types(["int8", "int8", "vector", *["text"] * len(TEXTS), "float8", "bool"])
            for row in zip(photos, items, rows.vectors, *texts, prices, rows.in_stock.tolist(), strict=True):
                copy.write_row(row)

    def _set_position(self, cursor: Cursor, position: Position) -> None:
        written = json.dumps(dict(position))
        cursor.execute("UPDATE photo_vector_indexes SET position = %s WHERE name = %s", [written, self._name])
        if cursor.rowcount != 1:
            raise IndexUnreadable("The database's list of indexes has lost this one: it has to be opened anew.")

    def _search(self, queries: Floats, k: int, where: Where) -> list[list[Hit]]:
        condition, asked = condition_of(where)
        with self._transaction(IsolationLevel.REPEATABLE_READ) as cursor:  # all of its queries see the same state
            has_graph, rows = self._set_up(cursor, first_pool(k))
            suits = has_graph and (not asked or self._suits(cursor, condition, asked, first_pool(k), rows))
            proposed = self._sql(PROPOSED, condition) if suits else None
            search = Searching(cursor, self.dim, proposed, self._sql(NEAREST, condition), asked, k)
            return [search.hits(query) for query in queries]

    def _set_up(self, cursor: Cursor, pool: int) -> tuple[bool, float]:
        """Set what a search for so many rows needs, in this transaction.

        Returns whether there is a graph, and how many rows the database believes to be in the table.
        """
        asked = {"steps": str(max(GRAPH_STEPS, 10 * pool)), "table": self._name, "graph": self._graph_name}
        row = cursor.execute(SETTINGS, {"width": _width(pool), **asked}).fetchone()
        return (row[-2], row[-1]) if row else (False, 0)

    def _suits(self, cursor: Cursor, condition: sql.Composable, asked: dict[str, Any], pool: int, rows: float) -> bool:
        """Whether the graph finds what fits: some must be wherever it looks. Its walk is widened accordingly.

        How many fit is what the database believes; a wrong guess costs time, seldom an answer.
        """
        explain = self._sql("EXPLAIN (FORMAT JSON) SELECT 1 FROM {table} WHERE {where}", condition)
        fitting = max(1, one(cursor.execute(explain, asked))[0]["Plan"]["Plan Rows"])
        pool = int(pool * rows / fitting)  # so many rows hold as many that fit as are wanted
        if fitting < self._graph_from or pool > GRAPH_WIDTH[1]:
            return False
        cursor.execute("SELECT set_config('hnsw.ef_search', %s, true)", [_width(pool)])
        return True

    def _sweep(self, connection: Connection) -> bool:
        living, dead = connection.execute(
            "SELECT n_live_tup, n_dead_tup FROM pg_stat_user_tables WHERE relid = to_regclass(%s)", [self._name]
        ).fetchone() or (0, 0)
        if dead < WORN[0] or dead < WORN[1] * (living + dead):
            return False
        connection.execute(self._sql("VACUUM (ANALYZE) {table}"))
        return True

    def _build_graph(self, connection: Connection, rows: int) -> None:
        connection.execute(self._sql("VACUUM (ANALYZE) {table}"))
        megabytes = rows * (2 * self.dim + GRAPH_ROW_BYTES) >> 20
        memory = f"{min(max(megabytes, GRAPH_MEMORY[0]), GRAPH_MEMORY[1])}MB"
        connection.execute("SELECT set_config('maintenance_work_mem', %s, false)", [memory])
        try:
            connection.execute(self._sql(CREATE_GRAPH))
        except errors.DiskFull:
            # Processes that build together need that memory in /dev/shm, of which a container has 64 MB by default.
            connection.execute(self._sql("DROP INDEX CONCURRENTLY IF EXISTS {graph}"))
            connection.execute("SET max_parallel_maintenance_workers = 0")
            connection.execute(self._sql(CREATE_GRAPH))

    def _require_tables(self, connection: Connection) -> None:
        """Check what is there, or make it. Where all is well nothing is touched: that would wait for a building."""
        if one(connection.execute("SELECT to_regclass('photo_vector_indexes') IS NULL")):
            connection.execute(CREATE_REGISTRY)
        known = connection.execute("SELECT encoder, dim FROM photo_vector_indexes WHERE name = %s", [self._name])
        encoder, dim = known.fetchone() or (None, None)
        if encoder is None or one(connection.execute("SELECT to_regclass(%s) IS NULL", [self._name])):
            self._make_table(connection)  # neither rows without a position nor a position without its rows are any use
            return
        if encoder != stored_word(self.encoder):
            raise EncoderMismatch(f"The table {self._name} is of encoder {encoder!r}, not of {self.encoder!r}.")
        if dim != self.dim:
            raise ShapeError(f"The vectors of {self.encoder!r} in the database have {dim} numbers, not {self.dim}.")

    def _make_table(self, connection: Connection) -> None:
        connection.execute(self._sql("DROP TABLE IF EXISTS {table}"))
        connection.execute("DELETE FROM photo_vector_indexes WHERE name = %s", [self._name])
        words = [sql.SQL('{} text COLLATE "C" NOT NULL').format(sql.Identifier(name)) for name in TEXTS]
        connection.execute(self._sql(CREATE_TABLE, words=sql.SQL(", ").join(words)))
        for column in ("item_id", *TEXTS, "price"):  # the database joins them by bitmaps, in any combination
            connection.execute(self._sql("CREATE INDEX ON {table} ({column})", column=sql.Identifier(column)))
        connection.execute(
            "INSERT INTO photo_vector_indexes VALUES (%s, %s, %s, '{}')",
            [self._name, stored_word(self.encoder), self.dim],
        )

    @property
    def _graph_name(self) -> str:
        return f"{self._name}_graph"

    def _sql(self, text: LiteralString, where: sql.Composable = ALL, **more: sql.Composable) -> sql.Composed:
        """A statement with the names of this index in it; values never are."""
        return sql.SQL(text).format(
            table=sql.Identifier(self._name),
            graph=sql.Identifier(self._graph_name),
            dim=sql.Literal(self.dim),
            where=where,
            **more,
        )

    @contextmanager
    def _transaction(self, level: IsolationLevel = IsolationLevel.READ_COMMITTED) -> Iterator[Cursor]:
        with plain_errors(), self._pool.connection() as connection:
            connection.isolation_level = level
            with connection.cursor(binary=True) as cursor:
                yield cursor

    @contextmanager
    def _change(self) -> Iterator[Cursor]:
        """A transaction of the only one who changes the index at the time."""
        with self._transaction() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [self._change_lock])
            yield cursor


def _width(pool: int) -> str:
    """How many candidates a walk keeps that is to find so many rows."""
    return str(min(max(GRAPH_WIDTH[0], 2 * pool), GRAPH_WIDTH[1]))
