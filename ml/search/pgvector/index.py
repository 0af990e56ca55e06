"""Approximate search in PostgreSQL with the extension pgvector (HNSW), for sites without a separate vector server.

Each encoder has a table of its own. Vectors are stored as float32; once there are many rows, `compact` builds an HNSW
graph of them, rounded to float16. A search fetches more candidates than needed from the graph and re-scores them in
full precision. If the graph returns too few candidates, because the filter matches few of the rows it visits, the
search falls back to scoring every matching row: the filter columns are indexed, and that result is exact.
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
    Search,
    build_condition,
    fetch_value,
    initial_candidates,
    read_rows,
    stored_word,
    translated_errors,
    vector_adapters,
    with_timeout,
)
from ml.search.rows import TEXT_COLUMNS, Bools, Ints, Rows, Where, as_ids, fold_case
from ml.vectors import Floats, ShapeError

GRAPH_FROM = 20_000
"""Rows from which on a graph pays off, in the table or among those that match a filter: brute force over fewer rows is
about as fast."""

MAX_DIM = 16_000
"""The longest vectors that pgvector stores."""

GRAPH_MAX_DIM = 4000
"""The longest float16 vectors that pgvector indexes."""

EF_SEARCH_RANGE: Final = (100, 1000)
"""Least and most candidates of a graph search (`hnsw.ef_search`)."""

MAX_SCAN_TUPLES = 20_000
"""Rows after which a graph search stops, unless k is very large; then brute force over the matching rows is as fast."""

GRAPH_ROW_BYTES = 700
"""Memory of a row during the build, besides its vector: links to up to 32 neighbours and overhead."""

GRAPH_MEMORY_RANGE: Final = (64, 2048)
"""Least and most megabytes for building the graph (`maintenance_work_mem`)."""

VACUUM_FROM: Final = (1000, 0.1)
"""Deleted rows, in number and as a share of all, from which on `compact` vacuums the table."""

SCHEMA_LOCK = int.from_bytes(hashlib.sha256(b"photo_vector_indexes").digest()[:8], signed=True)
"""Advisory lock for checking and creating the tables."""

ALL: Final = sql.SQL("true")

CREATE_REGISTRY: LiteralString = """
    CREATE TABLE photo_vector_indexes (name text PRIMARY KEY, encoder text NOT NULL, dim integer NOT NULL,
        position text NOT NULL)"""

CREATE_TABLE: LiteralString = """
    CREATE TABLE {table} (photo_id bigint PRIMARY KEY, item_id bigint NOT NULL, vector vector({dim}) NOT NULL,
        {words}, price double precision, in_stock boolean NOT NULL)
    WITH (toast_tuple_target = 8160)"""  # up to 2,000 numbers stay in the main row, where a scan reads them fast

CREATE_GRAPH: LiteralString = """
    CREATE INDEX CONCURRENTLY {graph} ON {table} USING hnsw ((vector::halfvec({dim})) halfvec_ip_ops)"""

GRAPH_SEARCH: LiteralString = """
    SELECT photo_id, item_id, vector FROM {table} WHERE {where}
    ORDER BY vector::halfvec({dim}) <#> %(query)s::vector::halfvec({dim}) LIMIT %(candidates)s"""

BRUTE_FORCE_SEARCH: LiteralString = """
    SELECT photo_id, item_id, vector FROM {table} WHERE {where} ORDER BY vector <#> %(query)s LIMIT %(candidates)s"""

# With sorting off, the planner uses the graph wherever it gives the order; other plans sort nevertheless.
SETTINGS: LiteralString = """
    SELECT set_config('hnsw.iterative_scan', 'relaxed_order', true), set_config('hnsw.ef_search', %(width)s, true),
        set_config('hnsw.max_scan_tuples', %(steps)s, true), set_config('hnsw.scan_mem_multiplier', '8', true),
        set_config('enable_sort', 'off', true), set_config('jit', 'off', true),
        coalesce((SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(%(graph)s)), false),
        (SELECT reltuples FROM pg_class WHERE oid = to_regclass(%(table)s))"""


class PgVectorIndex(SearchIndex):
    """An index in a PostgreSQL database, shared by any number of processes; each has one thread-safe object.

    Changes are serialised across processes. Besides the errors of `SearchIndex`, raises `IndexUnreadable` if the tables
    were dropped; opening the index again creates them, empty.
    """

    exact = False

    def __init__(
        self,
        encoder: str,
        dim: int,
        database: str,
        *,
        connections: int = 8,
        connect_timeout: float = 5.0,
        graph_from: int = GRAPH_FROM,
    ) -> None:
        """Open the index, and create its tables if there are none.

        `database`: a URL or libpq keywords. `connections`: most connections at a time. `connect_timeout`: timeout for
        connecting, in seconds. `graph_from`: with fewer rows, or fewer that match a filter, the search does not use the
        graph. Raises `IndexUnavailable`, `DatabaseNotReady`, `EncoderMismatch` or `ShapeError`.
        """
        super().__init__(encoder, dim)
        if not 1 <= dim <= MAX_DIM:
            raise ShapeError(f"PostgreSQL stores vectors of 1 to {MAX_DIM} numbers, not of {dim}.")
        digest = hashlib.sha256(encoder.encode("utf-8", "surrogatepass")).digest()
        self._name = f"photo_vectors_{digest[:8].hex()}"
        self._change_lock = int.from_bytes(digest[8:16], signed=True)
        self._compact_lock = int.from_bytes(digest[16:24], signed=True)
        self._graph_from = graph_from
        self._database = with_timeout(database, connect_timeout)
        with translated_errors():
            with psycopg.connect(self._database) as connection:
                connection.execute("SELECT pg_advisory_xact_lock(%s)", [SCHEMA_LOCK])
                adapters = vector_adapters(connection)
                self._require_tables(connection)
            self._pool = ConnectionPool(
                self._database,
                kwargs={
                    "context": adapters,
                    "prepare_threshold": None,
                },  # a generic plan does not know how rare a word is
                min_size=1,
                max_size=connections,
                timeout=connect_timeout,
                reconnect_timeout=connect_timeout,
                check=ConnectionPool.check_connection,
                open=True,
            )

    def __len__(self) -> int:
        with self._transaction() as cursor:
            return int(fetch_value(cursor.execute(self._sql("SELECT count(*) FROM {table}"))))

    @property
    def position(self) -> Position:
        with self._transaction() as cursor:
            cursor.execute("SELECT position FROM photo_vector_indexes WHERE name = %s", [self._name])
            position: Position = json.loads(fetch_value(cursor))
            return position

    def vectors_of(self, photo_ids: Sequence[int]) -> Floats:
        ids = as_ids(photo_ids)
        with self._transaction() as cursor:
            cursor.execute(
                self._sql("SELECT photo_id, item_id, vector FROM {table} WHERE photo_id = ANY(%s)"), [ids.tolist()]
            )
            photos, _, vectors = read_rows(cursor, self.dim)
        if missing := np.setdiff1d(ids, photos).tolist():
            raise UnknownPhotoError(f"Photo {missing[0]} is not in the index.")
        order = np.argsort(photos)
        return vectors[order[np.searchsorted(photos, ids, sorter=order)]]

    def contains(self, photo_ids: npt.ArrayLike) -> Bools:
        ids = as_ids(photo_ids)
        with self._transaction() as cursor:
            cursor.execute(self._sql("SELECT photo_id FROM {table} WHERE photo_id = ANY(%s)"), [ids.tolist()])
            return np.isin(ids, np.array([photo for (photo,) in cursor], dtype=np.int64))

    def compact(self) -> bool:
        """Build the graph once there are `graph_from` rows, or vacuum deleted rows out of it.

        Drops an incomplete graph of a killed build first. Does nothing while another process compacts.
        """
        with translated_errors(), psycopg.connect(self._database, autocommit=True) as connection:
            if not fetch_value(connection.execute("SELECT pg_try_advisory_lock(%s)", [self._compact_lock])):
                return False
            connection.execute("SET statement_timeout = 0")  # a timeout for searches would abort every build
            graph = connection.execute(
                "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(%s)", [self._graph_name]
            ).fetchone()
            if graph == (True,):
                return self._vacuum(connection)
            if graph == (False,):
                connection.execute(self._sql("DROP INDEX CONCURRENTLY {graph}"))
            rows = int(fetch_value(connection.execute(self._sql("SELECT count(*) FROM {table}"))))
            if rows < self._graph_from or self.dim > GRAPH_MAX_DIM:
                return graph is not None
            self._build_graph(connection, rows)
            return True

    def clear(self) -> None:
        """Remove every row, the position, and the graph, without which filling an index is faster."""
        with self._change() as cursor:
            self._set_position(cursor, {})
            try:
                with cursor.connection.transaction():
                    # While TRUNCATE waits for the build of a graph, searches would queue behind it.
                    cursor.execute("SET LOCAL lock_timeout = '500ms'")
                    cursor.execute(self._sql("TRUNCATE {table}"))
                    cursor.execute(self._sql("DROP INDEX IF EXISTS {graph}"))
            except errors.LockNotAvailable:
                cursor.execute(self._sql("DELETE FROM {table}"))

    def close(self) -> None:
        self._pool.close()

    def _update(self, rows: Rows, items: Ints, photos: Ints, position: Position | None) -> None:
        replaced = np.union1d(photos, rows.photo_ids).tolist()
        with self._change() as cursor:
            cursor.execute(self._sql("DELETE FROM {table} WHERE photo_id = ANY(%s)"), [replaced])
            cursor.execute(self._sql("DELETE FROM {table} WHERE item_id = ANY(%s)"), [items.tolist()])
            if len(rows):
                self._insert(cursor, rows)
            if position is not None:
                self._set_position(cursor, position)

    def _insert(self, cursor: Cursor, rows: Rows) -> None:
        texts = [[stored_word(fold_case(word)) for word in rows.texts[name]] for name in TEXT_COLUMNS]
        prices = [None if math.isnan(price) else price for price in rows.prices.tolist()]
        photos, items = rows.photo_ids.tolist(), rows.item_ids.tolist()
        with cursor.copy(self._sql("COPY {table} FROM STDIN (FORMAT BINARY)")) as copy:
            copy.set_types(["int8", "int8", "vector", *["text"] * len(TEXT_COLUMNS), "float8", "bool"])
            for row in zip(photos, items, rows.vectors, *texts, prices, rows.in_stock.tolist(), strict=True):
                copy.write_row(row)

    def _set_position(self, cursor: Cursor, position: Position) -> None:
        written = json.dumps(dict(position))
        cursor.execute("UPDATE photo_vector_indexes SET position = %s WHERE name = %s", [written, self._name])
        if cursor.rowcount != 1:
            raise IndexUnreadable("The index is missing from photo_vector_indexes: open it again, then fill it.")

    def _search(self, queries: Floats, k: int, where: Where) -> list[list[Hit]]:
        condition, parameters = build_condition(where)
        with self._transaction(IsolationLevel.REPEATABLE_READ) as cursor:  # all its queries see the same state
            has_graph, rows = self._prepare(cursor, initial_candidates(k))
            if has_graph and parameters:
                has_graph = self._is_graph_suitable(cursor, condition, parameters, initial_candidates(k), rows)
            graph = self._sql(GRAPH_SEARCH, condition) if has_graph else None
            brute_force = self._sql(BRUTE_FORCE_SEARCH, condition)
            search = Search(cursor, self.dim, graph, brute_force, parameters, k)
            return [search.hits(query) for query in queries]

    def _prepare(self, cursor: Cursor, candidates: int) -> tuple[bool, float]:
        """Configure this transaction for a search of `candidates` rows.

        Returns whether there is a graph, and the planner's estimate of the rows in the table.
        """
        names = {"steps": str(max(MAX_SCAN_TUPLES, 10 * candidates)), "table": self._name, "graph": self._graph_name}
        row = cursor.execute(SETTINGS, {"width": _ef_search(candidates), **names}).fetchone()
        return (row[-2], row[-1]) if row else (False, 0)

    def _is_graph_suitable(
        self, cursor: Cursor, condition: sql.Composable, parameters: dict[str, Any], candidates: int, rows: float
    ) -> bool:
        """Return whether enough rows match the filter for a graph search, which is widened accordingly.

        The number of matching rows is the planner's estimate; a wrong estimate costs time, rarely a result.
        """
        explain = self._sql("EXPLAIN (FORMAT JSON) SELECT 1 FROM {table} WHERE {where}", condition)
        matching = max(1, fetch_value(cursor.execute(explain, parameters))[0]["Plan"]["Plan Rows"])
        candidates = int(candidates * rows / matching)  # rows that contain the wanted number of matching rows
        if matching < self._graph_from or candidates > EF_SEARCH_RANGE[1]:
            return False
        cursor.execute("SELECT set_config('hnsw.ef_search', %s, true)", [_ef_search(candidates)])
        return True

    def _vacuum(self, connection: Connection) -> bool:
        live, dead = connection.execute(
            "SELECT n_live_tup, n_dead_tup FROM pg_stat_user_tables WHERE relid = to_regclass(%s)", [self._name]
        ).fetchone() or (0, 0)
        if dead < VACUUM_FROM[0] or dead < VACUUM_FROM[1] * (live + dead):
            return False
        connection.execute(self._sql("VACUUM (ANALYZE) {table}"))
        return True

    def _build_graph(self, connection: Connection, rows: int) -> None:
        connection.execute(self._sql("VACUUM (ANALYZE) {table}"))
        megabytes = rows * (2 * self.dim + GRAPH_ROW_BYTES) >> 20
        memory = f"{min(max(megabytes, GRAPH_MEMORY_RANGE[0]), GRAPH_MEMORY_RANGE[1])}MB"
        connection.execute("SELECT set_config('maintenance_work_mem', %s, false)", [memory])
        try:
            connection.execute(self._sql(CREATE_GRAPH))
        except errors.DiskFull:
            # A parallel build needs its memory in /dev/shm, of which a container has 64 MB by default.
            connection.execute(self._sql("DROP INDEX CONCURRENTLY IF EXISTS {graph}"))
            connection.execute("SET max_parallel_maintenance_workers = 0")
            connection.execute(self._sql(CREATE_GRAPH))

    def _require_tables(self, connection: Connection) -> None:
        """Check the tables or create them; correct tables are not locked, because that would wait for a graph build."""
        if fetch_value(connection.execute("SELECT to_regclass('photo_vector_indexes') IS NULL")):
            connection.execute(CREATE_REGISTRY)
        row = connection.execute("SELECT encoder, dim FROM photo_vector_indexes WHERE name = %s", [self._name])
        encoder, dim = row.fetchone() or (None, None)
        if encoder is None or fetch_value(connection.execute("SELECT to_regclass(%s) IS NULL", [self._name])):
            self._create_table(connection)  # rows without a position, or the reverse, are useless
            return
        if encoder != stored_word(self.encoder):
            raise EncoderMismatch(f"The table {self._name} is of encoder {encoder!r}, not of {self.encoder!r}.")
        if dim != self.dim:
            raise ShapeError(f"The vectors of {self.encoder!r} in the database have {dim} numbers, not {self.dim}.")

    def _create_table(self, connection: Connection) -> None:
        connection.execute(self._sql("DROP TABLE IF EXISTS {table}"))
        connection.execute("DELETE FROM photo_vector_indexes WHERE name = %s", [self._name])
        words = [sql.SQL('{} text COLLATE "C" NOT NULL').format(sql.Identifier(name)) for name in TEXT_COLUMNS]
        connection.execute(self._sql(CREATE_TABLE, words=sql.SQL(", ").join(words)))
        for column in ("item_id", *TEXT_COLUMNS, "price"):  # the planner combines them by bitmaps
            connection.execute(self._sql("CREATE INDEX ON {table} ({column})", column=sql.Identifier(column)))
        connection.execute(
            "INSERT INTO photo_vector_indexes VALUES (%s, %s, %s, '{}')",
            [self._name, stored_word(self.encoder), self.dim],
        )

    @property
    def _graph_name(self) -> str:
        return f"{self._name}_graph"

    def _sql(self, text: LiteralString, where: sql.Composable = ALL, **parts: sql.Composable) -> sql.Composed:
        """Return a statement with the identifiers of this index; values are always parameters."""
        return sql.SQL(text).format(
            table=sql.Identifier(self._name),
            graph=sql.Identifier(self._graph_name),
            dim=sql.Literal(self.dim),
            where=where,
            **parts,
        )

    @contextmanager
    def _transaction(self, level: IsolationLevel = IsolationLevel.READ_COMMITTED) -> Iterator[Cursor]:
        with translated_errors(), self._pool.connection() as connection:
            connection.isolation_level = level
            with connection.cursor(binary=True) as cursor:
                yield cursor

    @contextmanager
    def _change(self) -> Iterator[Cursor]:
        """Open a transaction with the lock that serialises changes."""
        with self._transaction() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [self._change_lock])
            yield cursor


def _ef_search(candidates: int) -> str:
    """Return the `hnsw.ef_search` for a search of `candidates` rows."""
    return str(min(max(EF_SEARCH_RANGE[0], 2 * candidates), EF_SEARCH_RANGE[1]))
