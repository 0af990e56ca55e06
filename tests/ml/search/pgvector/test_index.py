"""The pgvector index in a real PostgreSQL: the contract, the graph, several processes, and faults of the server."""

import threading
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from ml.search import ANY, EncoderMismatch, IndexUnavailable, IndexUnreadable, Where, build_rows
from ml.search.pgvector.index import PgVectorIndex
from ml.search.pgvector.sql import DatabaseNotReady
from ml.vectors import ShapeError, unit_rows
from tests.helpers.errors import raises_code
from tests.helpers.hypothesis_profiles import examples
from tests.helpers.index_machine import DIM, IndexMachine
from tests.helpers.search_contract import Contract
from tests.helpers.search_rows import CORNERS, DEFAULT_COLUMNS, ENCODER, Photo, as_tuples, clustered, recall, rows_from

Make = Callable[..., PgVectorIndex]


def execute(database: str, statement: str, *values: Any) -> list[tuple[Any, ...]]:
    with psycopg.connect(database, autocommit=True) as connection:
        cursor = connection.execute(statement, values or None)
        return cursor.fetchall() if cursor.description else []


class TestContract(Contract):
    """Brute force until `compact` has built a graph; then the graph, wherever it is suitable."""

    @pytest.fixture
    def make(self, open_index: Make, addresses: Callable[[], str]) -> Make:
        return lambda encoder, dim: open_index(encoder, dim, addresses(), graph_from=1)


def graphs(database: str) -> list[tuple[Any, ...]]:
    """Return (name, is valid) of each graph."""
    return execute(
        database,
        "SELECT relname, indisvalid FROM pg_index JOIN pg_class ON indexrelid = oid "
        "WHERE relname LIKE %s AND relnamespace = current_schema()::regnamespace",
        "%graph%",
    )


# --- the graph


def test_the_graph_has_a_high_recall_even_in_a_category_far_from_the_query(open_index: Make) -> None:
    vectors = clustered(5000, dim=32, seed=3)
    category = np.argsort(vectors[:, 0], kind="stable").argsort() // 250  # each is a slice of space, 1 in 20
    photos = {
        row: Photo(row // 2, vectors[row], DEFAULT_COLUMNS | {"category": f"c{category[row]}", "brand": f"b{row % 3}"})
        for row in range(5000)
    }
    index = open_index(dim=32, graph_from=200)
    index.update(rows_from(photos))
    assert index.compact()
    with index._transaction() as cursor:
        assert index._prepare(cursor, 64)
        plan = cursor.execute(
            index._sql("EXPLAIN SELECT 1 FROM {table} ORDER BY vector::halfvec({dim}) <#> %s::vector::halfvec({dim})"),
            [vectors[0]],
        ).fetchall()
    assert "_graph on" in plan[0][0]
    queries = vectors[np.flatnonzero(category == 3)[:5]]
    for where in (
        ANY,
        Where(category="c3"),
        Where(category="c17"),
        Where(brand="b1"),
        Where(category="c9", brand="b2"),
    ):
        assert recall(index, photos, queries, 20, where) >= 0.98, where


def test_rows_added_after_the_graph_are_found(open_index: Make) -> None:
    vectors = clustered(1000, dim=16, seed=4)
    index = open_index(dim=16, graph_from=500)
    index.update(build_rows(range(500), range(500), vectors[:500]))
    assert not open_index(dim=16, graph_from=501).compact()
    assert index.compact()
    index.update(build_rows(range(500, 1000), range(500, 1000), vectors[500:]), photos=range(100))
    for row in (500, 777, 999):
        assert as_tuples(index.search(vectors[row], 1, encoder=ENCODER)) == [(row, row, pytest.approx(1.0))]
    assert not {hit.photo_id for hit in index.search(vectors[50], 200, encoder=ENCODER)} & set(range(100))


def test_deleted_rows_are_vacuumed_out_of_the_graph(open_index: Make, address: str) -> None:
    vectors = clustered(1500, dim=8, seed=5)
    index = open_index(dim=8, graph_from=100)
    index.update(build_rows(range(1500), range(1500), vectors))
    assert index.compact()
    assert not index.compact()
    index.update(build_rows([], [], []), photos=range(1200))
    hits = index.search(vectors[0], 30, encoder=ENCODER)
    assert len(hits) == 30
    execute(address, f"ANALYZE {index._name}")  # updates the count of deleted rows at once
    assert index.compact()
    assert not index.compact()
    assert index.search(vectors[0], 30, encoder=ENCODER) == hits


def test_an_invalid_graph_is_built_again(open_index: Make, address: str) -> None:
    index = open_index(dim=8, graph_from=100)
    index.update(build_rows(range(300), range(300), clustered(300, dim=8)))
    index.compact()
    execute(address, "UPDATE pg_index SET indisvalid = false WHERE indexrelid = to_regclass(%s)", index._graph_name)
    assert graphs(address) == [(index._graph_name, False)]
    assert len(index.search(clustered(1, dim=8)[0], 5, encoder=ENCODER)) == 5
    assert index.compact()
    assert graphs(address) == [(index._graph_name, True)]


def test_a_killed_build_is_repaired_by_the_next(open_index: Make, address: str) -> None:
    index = open_index(dim=8, graph_from=100)
    index.update(build_rows(range(300), range(300), clustered(300, dim=8)))
    problems: list[Exception] = []

    def build() -> None:
        try:
            index.compact()
        except IndexUnavailable as error:
            problems.append(error)

    with psycopg.connect(address) as reader:
        reader.execute(f"LOCK TABLE {index._name} IN ROW EXCLUSIVE MODE")  # as a change does; the build waits
        builder = threading.Thread(target=build)
        builder.start()
        wait_until(address, "SELECT 1 FROM pg_stat_progress_create_index WHERE phase LIKE 'waiting for writers%'")
        assert not open_index(dim=8, graph_from=100).compact(), "one at a time"
        execute(address, "SELECT pg_terminate_backend(pid) FROM pg_stat_progress_create_index")
        builder.join()
    assert len(problems) == 1
    assert graphs(address) == [(index._graph_name, False)]
    assert index.compact()
    assert graphs(address) == [(index._graph_name, True)]


def test_clear_does_not_wait_for_a_build(open_index: Make, address: str) -> None:
    index = open_index(dim=8, graph_from=100)
    index.update(build_rows(range(300), range(300), clustered(300, dim=8)), position={"at": 1})
    with psycopg.connect(address) as other:
        other.execute(f"LOCK TABLE {index._name} IN SHARE UPDATE EXCLUSIVE MODE")  # the lock of a build
        index.clear()
        assert len(index) == 0
        assert index.position == {}


@pytest.mark.parametrize(("dim", "has_graph"), [(1, True), (2048, True), (4000, True), (4001, False), (16_000, False)])
def test_vectors_of_any_length_are_stored(open_index: Make, address: str, dim: int, has_graph: bool) -> None:
    index = open_index(dim=dim, graph_from=3)
    vectors = unit_rows(np.random.default_rng(dim).normal(size=(4, dim)))
    index.update(build_rows(range(4), range(4), vectors))
    assert index.compact() == has_graph
    assert graphs(address) == [(index._graph_name, True)] * has_graph
    assert np.array_equal(index.vectors_of([3, 0]), vectors[[3, 0]])
    hits = index.search(vectors[2], 4, encoder=ENCODER)
    assert hits[0].score == pytest.approx(1.0, abs=1e-6)
    assert len(hits) == 4


def test_vectors_too_long_for_pgvector_are_refused(open_index: Make) -> None:
    with raises_code(ShapeError, "vector_shape", 16000):
        open_index(dim=16_001)


def test_ties_are_stable_among_more_rows_than_the_first_fetch(open_index: Make) -> None:
    index = open_index()
    index.update(build_rows(range(300), np.arange(300)[::-1], np.repeat(CORNERS[:1], 300, axis=0)))
    assert as_tuples(index.search(CORNERS[0], 3, encoder=ENCODER)) == [(0, 299, 1.0), (1, 298, 1.0), (2, 297, 1.0)]


# --- words and prices


@pytest.mark.parametrize("word", ["a\x00b", "\ud800", "x" * 10_000, "sha256:0", "ẞ", "'); DROP TABLE x; --", "%s {}"])
def test_any_word_can_be_stored_and_filtered(open_index: Make, word: str) -> None:
    index = open_index(word)
    index.update(build_rows([1, 2], [1, 2], CORNERS[:2], brand=[word, "other"]))
    assert [hit.item_id for hit in index.search(CORNERS[0], 9, encoder=word, where=Where(brand=word.upper()))] == [1]
    assert index.search(CORNERS[0], 9, encoder=word, where=Where(brand=word[:-1] + "?")) == []


def test_an_infinite_price_is_in_unbounded_ranges(open_index: Make) -> None:
    index = open_index()
    index.update(build_rows([1, 2, 3], [1, 2, 3], CORNERS[:3], price=[np.inf, None, 5]))
    assert [hit.item_id for hit in index.search(CORNERS[0], 9, encoder=ENCODER, where=Where(min_price=-np.inf))] == [
        1,
        3,
    ]
    assert [hit.item_id for hit in index.search(CORNERS[0], 9, encoder=ENCODER, where=Where(max_price=1e9))] == [3]


# --- several processes, several encoders


def test_processes_share_rows_and_position(open_index: Make) -> None:
    ours, theirs = open_index(), open_index()
    ours.update(build_rows([1], [1], CORNERS[:1], brand="Acme"), position={"at": 3})
    assert as_tuples(theirs.search(CORNERS[0], 1, encoder=ENCODER, where=Where(brand="acme"))) == [(1, 1, 1.0)]
    assert theirs.position == {"at": 3}


def test_the_tables_can_be_created_concurrently(open_index: Make, address: str) -> None:
    opened: list[PgVectorIndex] = []
    threads = [threading.Thread(target=lambda: opened.append(open_index())) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(opened) == 6
    assert execute(address, "SELECT count(*) FROM photo_vector_indexes") == [(1,)]


def test_each_encoder_has_rows_of_its_own(open_index: Make) -> None:
    old, new = open_index("old"), open_index("new", 3)
    old.update(build_rows([1], [1], CORNERS[:1]), position={"at": 1})
    new.update(build_rows([2], [2], np.eye(3)[:1]))
    new.clear()
    assert (len(old), len(new)) == (1, 0)
    assert old.position == {"at": 1}


def test_vectors_of_another_length_are_refused_at_opening(open_index: Make) -> None:
    open_index(ENCODER, 4)
    with raises_code(ShapeError, "vector_shape", 4, 5):
        open_index(ENCODER, 5)


def test_a_table_of_another_encoder_is_refused_at_opening(open_index: Make, address: str) -> None:
    open_index(ENCODER)
    execute(address, "UPDATE photo_vector_indexes SET encoder = 'other'")
    with raises_code(EncoderMismatch, "encoder_mismatch", "'other'"):
        open_index(ENCODER)


def test_dropped_tables_are_created_again_without_the_old_position(open_index: Make, address: str) -> None:
    index = open_index()
    index.update(build_rows([1], [1], CORNERS[:1]), position={"at": 9})
    execute(address, f"DROP TABLE {index._name}")
    with pytest.raises(IndexUnreadable):
        index.search(CORNERS[0], 1, encoder=ENCODER)
    again = open_index()
    assert (len(again), again.position) == (0, {})


def test_rows_without_their_position_are_discarded(open_index: Make, address: str) -> None:
    index = open_index()
    index.update(build_rows([1], [1], CORNERS[:1]), position={"at": 9})
    execute(address, "DELETE FROM photo_vector_indexes")
    with pytest.raises(IndexUnreadable):
        index.update(build_rows([2], [2], CORNERS[:1]), position={"at": 10})
    assert len(index) == 1
    assert len(open_index()) == 0


def test_any_sequence_of_changes_equals_brute_force(open_index: Make) -> None:
    index = open_index("e", DIM, graph_from=5)

    class DatabaseMachine(IndexMachine):
        save_and_load = None

        def __init__(self) -> None:
            super().__init__()
            index.clear()
            self.index = index

    few_examples = settings(max_examples=examples(6), stateful_step_count=15, suppress_health_check=list(HealthCheck))
    run_state_machine_as_test(DatabaseMachine, settings=few_examples)


def test_readers_see_consistent_states_while_another_writes(open_index: Make) -> None:
    """An item moves between two corners: the queries of one search see it in the same corner."""
    index = open_index(graph_from=1)
    index.update(build_rows([1, 2], [1, 1], CORNERS[[0, 0]]))
    index.compact()
    problems: list[Any] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            first, second = index.search_many(CORNERS[:2], 5, encoder=ENCODER)
            if [hit.item_id for hit in first + second] != [1, 1] or first[0].score + second[0].score != 1.0:
                problems.append((first, second))

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for turn in range(60):
        index.update(build_rows([1, 2], [1, 1], CORNERS[[turn % 2, turn % 2]]), items=[1])
    done.set()
    for reader in readers:
        reader.join()
    assert problems == []


# --- faults of the server


def wait_until(database: str, statement: str) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        while not connection.execute(statement).fetchone():
            connection.execute("SELECT pg_sleep(0.01)")


WRITERS = """FROM pg_stat_activity
    WHERE query LIKE 'UPDATE photo_vector_indexes%' AND wait_event_type = 'Lock' AND pid <> pg_backend_pid()"""


def test_a_change_whose_connection_dies_is_rolled_back(open_index: Make, address: str) -> None:
    index = open_index()
    index.update(build_rows([1, 2], [1, 2], CORNERS[:2]), position={"at": 1})
    problems: list[Exception] = []

    def change() -> None:
        try:
            index.update(build_rows([3], [3], CORNERS[2:3]), items=[1], position={"at": 2})
        except IndexUnavailable as error:
            problems.append(error)

    with psycopg.connect(address) as other:
        other.execute("SELECT 1 FROM photo_vector_indexes FOR UPDATE")  # the change stops before its last statement
        writer = threading.Thread(target=change)
        writer.start()
        wait_until(address, f"SELECT 1 {WRITERS}")
        execute(address, f"SELECT pg_terminate_backend(pid) {WRITERS}")
        writer.join()
    assert len(problems) == 1
    assert as_tuples(index.search(CORNERS[0], 9, encoder=ENCODER)) == [(1, 1, 1.0), (2, 2, 0.0)]
    assert index.position == {"at": 1}
    index.update(build_rows([3], [3], CORNERS[2:3]), items=[1], position={"at": 2})
    assert index.contains([1, 2, 3]).tolist() == [False, True, True]


def test_searches_continue_after_the_server_dropped_every_connection(open_index: Make, address: str) -> None:
    index = open_index()
    index.update(build_rows([1], [1], CORNERS[:1]))
    execute(address, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'photo vectors'")
    assert as_tuples(index.search(CORNERS[0], 1, encoder=ENCODER)) == [(1, 1, 1.0)]


def test_an_index_recovers_when_its_server_returns(open_index: Make, address: str, tmp_path: Path) -> None:
    folder = conninfo_to_dict(address).get("host")
    if not str(folder).startswith("/"):
        pytest.skip("the server is not reached through a socket")
    link = tmp_path / "here"
    link.symlink_to(str(folder))
    index = open_index(database=make_conninfo(address, host=str(link)), connect_timeout=0.5)
    index.update(build_rows([1], [1], CORNERS[:1]))
    link.unlink()
    execute(address, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'photo vectors'")
    with pytest.raises(IndexUnavailable):
        index.search(CORNERS[0], 1, encoder=ENCODER)
    with pytest.raises(IndexUnavailable):
        index.compact()
    link.symlink_to(str(folder))
    assert as_tuples(index.search(CORNERS[0], 1, encoder=ENCODER)) == [(1, 1, 1.0)]


@pytest.mark.parametrize("database", ["postgres://nobody@127.0.0.1:1/nothing", "host=/nowhere", "what=is this"])
def test_an_unreachable_server_is_unavailable(database: str) -> None:
    with pytest.raises(IndexUnavailable):
        PgVectorIndex(ENCODER, 4, database)


def test_a_missing_extension_or_privilege_is_reported(postgres: str, owner: psycopg.Connection[Any]) -> None:
    name = f"bare_{uuid.uuid4().hex}"
    owner.execute(f"CREATE DATABASE {name}")
    owner.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{name}'")
    plain = make_conninfo(postgres, dbname=name, user=name, password=name)
    try:
        with raises_code(DatabaseNotReady, "pgvector_missing", "CREATE EXTENSION vector"):
            PgVectorIndex(ENCODER, 4, plain)
        execute(make_conninfo(postgres, dbname=name), "CREATE EXTENSION vector")
        with raises_code(DatabaseNotReady, "database_privilege"):
            PgVectorIndex(ENCODER, 4, plain)
        execute(make_conninfo(postgres, dbname=name), f"GRANT CREATE ON SCHEMA public TO {name}")
        index = PgVectorIndex(ENCODER, 4, plain)
        assert len(index) == 0
        index.close()
    finally:
        owner.execute(f"DROP DATABASE {name} WITH (FORCE)")
        owner.execute(f"DROP ROLE {name}")
