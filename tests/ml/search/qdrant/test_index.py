"""The Qdrant index: in the client's local mode, without graph and rounding, and on a server if QDRANT_URL is set."""

import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from httpx import Headers
from qdrant_client import QdrantClient, models
from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse

from ml.search import ANY, EncoderMismatch, IndexUnavailable, IndexUnreadable, SearchError, Where, build_rows
from ml.search.qdrant import index as module
from ml.search.qdrant.index import CollectionConfig, QdrantIndex
from ml.vectors import ShapeError, unit_rows
from tests.helpers.errors import raises_code
from tests.helpers.fresh_interpreter import run_program
from tests.helpers.search_contract import Contract, Make
from tests.helpers.search_rows import CORNERS, DEFAULT_COLUMNS, ENCODER, Photo, Photos, as_tuples, best_of, rows_from

SERVER = os.environ.get("QDRANT_URL", "")


class TestInMemory(Contract):
    many = 400  # local mode compares in Python, a tenth of a millisecond for each row

    @pytest.fixture
    def make(self) -> Make:
        return lambda encoder, dim: QdrantIndex(QdrantClient(":memory:"), encoder, dim)


@pytest.mark.skipif(not SERVER, reason="QDRANT_URL names no Qdrant server")
class TestOnAServer(Contract):
    """Each test creates and removes an index of its own."""

    @pytest.fixture
    def make(self) -> Iterator[Make]:
        opened: list[QdrantIndex] = []

        def open_one(encoder: str, dim: int) -> QdrantIndex:
            opened.append(QdrantIndex(SERVER, encoder, dim, name=f"test-{uuid.uuid4()}", timeout=30))
            return opened[-1]

        yield open_one
        client = QdrantClient(SERVER, timeout=30)
        for index in opened:
            index.close()
            for slot in ("a", "b"):
                client.delete_collection(f"{index.name}-{slot}")
        client.close()


@pytest.fixture
def client() -> QdrantClient:
    return QdrantClient(":memory:")


@pytest.fixture
def index(client: QdrantClient) -> QdrantIndex:
    return QdrantIndex(client, ENCODER, 4)


def items_near(index: QdrantIndex, where: Where = ANY) -> list[int]:
    return [hit.item_id for hit in index.search(CORNERS[0], 9, encoder=ENCODER, where=where)]


# --- opening an index


def test_a_reopened_index_has_its_rows_and_position(client: QdrantClient, index: QdrantIndex) -> None:
    index.update(build_rows([1, 2], [10, 20], CORNERS[:2]), position={"at": 3})
    again = QdrantIndex(client, ENCODER, 4)
    assert (len(again), again.position) == (2, {"at": 3})
    assert as_tuples(again.search(CORNERS[1], 1, encoder=ENCODER)) == [(20, 2, 1.0)]


def test_an_index_in_a_folder_outlives_its_process(tmp_path: Path) -> None:
    first = QdrantClient(path=str(tmp_path))
    index = QdrantIndex(first, ENCODER, 4)
    index.update(build_rows([1, 2], [10, 20], CORNERS[:2], price=[5.5, None]), position={"at": 3})
    index.clear()
    index.update(build_rows([3], [30], CORNERS[:1], price=7.5), position={"at": 4})
    first.close()
    second = QdrantClient(path=str(tmp_path))
    again = QdrantIndex(second, ENCODER, 4)
    assert again.position == {"at": 4}
    assert as_tuples(again.search(CORNERS[0], 5, encoder=ENCODER, where=Where(min_price=7))) == [(30, 3, 1.0)]
    second.close()


def test_the_index_of_another_encoder_or_length_is_refused(client: QdrantClient) -> None:
    QdrantIndex(client, ENCODER, 4, name="photos")
    with raises_code(EncoderMismatch, "encoder_mismatch", "'lite0@abc'", "'lite1@abc'"):
        QdrantIndex(client, "lite1@abc", 4, name="photos")
    with raises_code(ShapeError, "vector_shape", 4, 5):
        QdrantIndex(client, ENCODER, 5, name="photos")
    assert len(QdrantIndex(client, ENCODER, 4, name="photos")) == 0


def test_each_encoder_has_an_index_of_its_own(client: QdrantClient) -> None:
    encoders = [ENCODER, "lite0@abd", "a/b: c?", "a/b: c*", "Bäcker", "x" * 300, "\ud800"]
    for number, encoder in enumerate(encoders):
        QdrantIndex(client, encoder, 4).update(build_rows([1], [number], CORNERS[:1]))
    for number, encoder in enumerate(encoders):
        hits = QdrantIndex(client, encoder, 4).search(CORNERS[0], 5, encoder=encoder)
        assert as_tuples(hits) == [(number, 1, 1.0)]


def test_a_foreign_collection_is_not_used_as_an_index(client: QdrantClient) -> None:
    client.create_collection("a-forum", vectors_config=models.VectorParams(size=4, distance=models.Distance.COSINE))
    there = models.CreateAlias(collection_name="a-forum", alias_name="photos")
    client.update_collection_aliases([models.CreateAliasOperation(create_alias=there)])
    with raises_code(IndexUnreadable, "foreign_collection", "'photos'"):
        QdrantIndex(client, ENCODER, 4, name="photos")


def test_an_interrupted_creation_is_completed_by_the_next(
    client: QdrantClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(client, "update_collection_aliases", fail)
        with pytest.raises(IndexUnavailable):
            QdrantIndex(client, ENCODER, 4)
    assert client.get_aliases().aliases == []
    index = QdrantIndex(client, ENCODER, 4)
    assert (len(index), index.position) == (0, {})


# --- rebuild and take over


def collections(client: QdrantClient) -> list[str]:
    return sorted(collection.name for collection in client.get_collections().collections)


def test_a_rebuilt_index_takes_over_atomically(client: QdrantClient, index: QdrantIndex) -> None:
    reader = QdrantIndex(client, ENCODER, 4)
    index.update(build_rows([1, 2], [10, 20], CORNERS[:2]), position={"at": 1})
    new = index.rebuild()
    new.update(build_rows([1, 3], [10, 30], CORNERS[:2]), position={"at": 9})
    assert items_near(reader) == [10, 20]
    assert reader.position == {"at": 1}
    assert items_near(new) == [10, 30]
    new.take_over()
    assert items_near(reader) == items_near(index) == items_near(new) == [10, 30]
    assert reader.position == index.position == {"at": 9}
    assert len(collections(client)) == 1


def test_the_collections_alternate(client: QdrantClient, index: QdrantIndex) -> None:
    names = []
    for number in range(3):
        names += collections(client)
        index.clear()
        index.update(build_rows([number], [number], CORNERS[:1]))
        assert items_near(index) == [number]
    assert names == [f"{index.name}-{slot}" for slot in "aba"]


def test_an_unfinished_rebuild_is_discarded_by_the_next(client: QdrantClient, index: QdrantIndex) -> None:
    index.update(build_rows([1], [10], CORNERS[:1]))
    index.rebuild().update(build_rows([2], [20], CORNERS[:1]), position={"at": 1})
    new = index.rebuild()
    assert (len(new), new.position) == (0, {})
    new.clear()
    new.update(build_rows([3], [30], CORNERS[:1]))
    assert items_near(index) == [10]
    new.take_over()
    assert items_near(index) == [30]


def test_a_failed_take_over_keeps_the_old_index(
    client: QdrantClient, index: QdrantIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    index.update(build_rows([1], [10], CORNERS[:1]), position={"at": 1})
    with monkeypatch.context() as patch:
        patch.setattr(client, "update_collection_aliases", fail)
        with pytest.raises(IndexUnavailable):
            index.clear()
    assert (items_near(index), index.position) == ([10], {"at": 1})
    index.clear()
    assert len(index) == 0


# --- interrupted changes


def fail(*_args: object, **_options: object) -> None:
    raise ResponseHandlingException(ConnectionError("connection reset"))


@pytest.mark.parametrize("step", ["upsert", "batch_update_points"])
def test_repeating_an_interrupted_change_completes_it(
    client: QdrantClient, index: QdrantIndex, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Item 10 loses photo 1 and gets photo 4; photo 2 moves to item 30. No item is missing at any time."""
    index.update(build_rows([1, 2, 3], [10, 20, 20], CORNERS[:3]), position={"at": 1})
    change = build_rows([4, 2], [10, 30], CORNERS[[3, 1]], category="Hat")
    with monkeypatch.context() as patch:
        patch.setattr(client, step, fail)
        with raises_code(IndexUnavailable, "index_unavailable"):
            index.update(change, items=[10], position={"at": 2})
    assert {10, 20} <= set(items_near(index))
    assert index.position == {"at": 1}
    for _ in range(2):
        index.update(change, items=[10], position={"at": 2})
        assert index.position == {"at": 2}
        assert index.contains([1, 2, 3, 4]).tolist() == [False, True, True, True]
        assert as_tuples(index.search(CORNERS[3], 1, encoder=ENCODER)) == [(10, 4, 1.0)]
        assert as_tuples(index.search(CORNERS[1], 1, encoder=ENCODER, where=Where(category="hat"))) == [(30, 2, 1.0)]


def grid_point(rng: np.random.Generator) -> np.ndarray:
    return unit_rows([rng.integers(-1, 2, 4) + np.array([0, 0, 0, 2.5])])[0]


@pytest.mark.parametrize("seed", range(3))
def test_any_changes_and_interruptions_equal_brute_force(
    client: QdrantClient, index: QdrantIndex, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Vectors come from a coarse grid, so that ties are common; every third change is interrupted once."""
    rng = np.random.default_rng(seed)
    photos: Photos = {}
    for change in range(15):
        items, deleted = rng.integers(0, 9, rng.integers(0, 3)).tolist(), rng.integers(0, 40, 2).tolist()
        added = {
            int(photo): Photo(
                int(rng.integers(0, 9)),
                grid_point(rng),
                DEFAULT_COLUMNS | {"category": "Ab"[rng.integers(2)], "price": [None, 1.0, 2.0][rng.integers(3)]},
            )
            for photo in rng.choice(40, rng.integers(1, 7), replace=False)
        }
        photos = {photo: row for photo, row in photos.items() if row.item not in items and photo not in deleted} | added
        if change % 3 == 0:
            with monkeypatch.context() as patch:
                patch.setattr(client, "batch_update_points", fail)
                with pytest.raises(IndexUnavailable):
                    index.update(rows_from(added), items=items, photos=deleted, position={"at": change})
        index.update(rows_from(added), items=items, photos=deleted, position={"at": change})
        assert (len(index), index.position) == (len(photos), {"at": change})
        for where in (ANY, Where(category="a"), Where(category="B", min_price=2), Where(max_price=1)):
            query = grid_point(rng)
            assert as_tuples(index.search(query, 4, encoder=ENCODER, where=where)) == best_of(photos, query, 4, where)


def test_a_large_change_is_sent_in_batches_and_deletes_last(
    client: QdrantClient, index: QdrantIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_REQUEST_FLOATS", 12)
    vectors = unit_rows(np.random.default_rng(1).normal(size=(10, 4)))
    sent, real = [], client.upsert
    monkeypatch.setattr(client, "upsert", lambda name, batch, wait: sent.append(len(batch.ids)) or real(name, batch))
    index.update(build_rows(range(10), [7] * 10, vectors))
    assert sent == [3, 3, 3, 1]
    index.update(build_rows(range(5, 12), [7] * 7, vectors[:7]), items=[7])
    assert len(index) == 7
    assert np.array_equal(index.vectors_of(range(11, 4, -1)), vectors[6::-1])
    with pytest.raises(AttributeError):
        index.update(build_rows([1], [1], CORNERS[:1], category=[None]))
    assert len(index) == 7  # invalid rows are detected before the first batch is sent


# --- requests and stored values


def test_more_ties_than_one_request_fetches_are_ordered_by_item(index: QdrantIndex) -> None:
    order = np.random.default_rng(3).permutation(200)
    index.update(build_rows(1000 + order, order // 2, np.repeat(CORNERS[:1], 200, axis=0)))
    expected = [(item, 1000 + 2 * item, 1.0) for item in range(5)]
    assert as_tuples(index.search(CORNERS[0], 5, encoder=ENCODER)) == expected


def test_a_huge_k_is_limited_to_the_rows_of_the_index(index: QdrantIndex) -> None:
    index.update(build_rows([1, 2], [10, 20], CORNERS[:2]))
    assert len(index.search(CORNERS[0], 10**15, encoder=ENCODER)) == 2
    index.clear()
    assert index.search(CORNERS[0], 10**15, encoder=ENCODER) == []


def test_a_request_with_too_few_groups_is_repeated(
    client: QdrantClient, index: QdrantIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A real server gives up after five attempts, when a few items have all the nearest photos."""
    angles = np.linspace(0, 1, 30)
    index.update(
        build_rows(range(30), range(30), np.column_stack([np.cos(angles), np.sin(angles), 0 * angles, 0 * angles]))
    )
    real = client.query_points_groups
    monkeypatch.setattr(
        client, "query_points_groups", lambda *args, limit, **options: real(*args, limit=min(limit, 4), **options)
    )
    assert [hit.item_id for hit in index.search(CORNERS[0], 11, encoder=ENCODER)] == list(range(11))


def test_infinite_prices_are_above_and_below_all_others(index: QdrantIndex) -> None:
    index.update(build_rows([1, 2, 3, 4], [1, 2, 3, 4], CORNERS, price=[np.inf, -np.inf, 5, None]))
    for where, items in {
        Where(min_price=-np.inf): [1, 2, 3],
        Where(max_price=np.inf): [1, 2, 3],
        Where(min_price=np.inf): [1],
        Where(min_price=-1e300, max_price=1e300): [3],
    }.items():
        assert sorted(items_near(index, where)) == items


def test_words_that_need_escaping_are_found(index: QdrantIndex) -> None:
    """JSON can spell a lone surrogate, UTF-8 cannot."""
    words = ["\ud800", "\ud801", "?", "a\0b", ""]
    index.update(build_rows(range(5), range(5), np.repeat(CORNERS[:1], 5, axis=0), category=words))
    for number, word in enumerate(words):
        assert items_near(index, Where(category=word)) == [number]
    assert items_near(index, Where(brand="\udfff")) == []


def test_negative_ids_are_stored(client: QdrantClient, index: QdrantIndex) -> None:
    """Qdrant's own ids are unsigned."""
    index.update(build_rows([-1, -(2**63), 2**63 - 1], [-5, 6, 7], CORNERS[:3]))
    assert as_tuples(index.search(CORNERS[0], 1, encoder=ENCODER)) == [(-5, -1, 1.0)]
    assert index.contains([-1, -(2**63), 2**63 - 1, 1]).tolist() == [True, True, True, False]
    points, _ = client.scroll(index.name, limit=9)
    assert all(isinstance(point.id, str) or 0 <= point.id < 2**64 for point in points)
    index.update(build_rows([], [], []), items=[-5], photos=[-(2**63)])
    assert items_near(index) == [7]


def test_a_new_collection_has_the_given_config(client: QdrantClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Local mode ignores the configuration, so that the test inspects the request."""
    sent, real = {}, client.create_collection
    monkeypatch.setattr(
        client, "create_collection", lambda name, **options: sent.update(options) or real(name, **options)
    )
    QdrantIndex(client, ENCODER, 4, config=CollectionConfig(shards=6, replicas=2, hnsw_m=24, on_disk=False))
    assert (sent["shard_number"], sent["replication_factor"], sent["hnsw_config"].m) == (6, 2, 24)
    assert (
        sent["vectors_config"]["photo"].distance == models.Distance.DOT
    )  # the index checks the length of vectors itself
    assert not sent["vectors_config"]["photo"].on_disk
    assert sent["quantization_config"].scalar.type == models.ScalarType.INT8


# --- no server


def test_an_unreachable_server_is_reported_at_once() -> None:
    with socket.socket() as closed:  # bound, but not listening
        closed.bind(("127.0.0.1", 0))
        begun = time.monotonic()
        with raises_code(IndexUnavailable, "index_unavailable"):
            QdrantIndex(f"http://127.0.0.1:{closed.getsockname()[1]}", ENCODER, 4)
        assert time.monotonic() - begun < 3


def test_a_server_that_hangs_up_is_unavailable() -> None:
    """Another program listens on the port and closes the connection."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        other.settimeout(5)
        threading.Thread(target=lambda: other.accept()[0].close()).start()
        with pytest.raises(IndexUnavailable):
            QdrantIndex(f"http://127.0.0.1:{other.getsockname()[1]}", ENCODER, 4)


@pytest.mark.parametrize("address", ["", "qdrant:6333", "ftp://qdrant", "http://[::1"])
def test_an_invalid_address_is_refused(address: str) -> None:
    with raises_code(SearchError, "qdrant_address"):
        QdrantIndex(address, ENCODER, 4)


def test_a_removed_index_is_unreadable(
    client: QdrantClient, index: QdrantIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Local mode raises other errors, so the test raises the server's."""
    for status, error in {404: IndexUnreadable, 401: IndexUnavailable, 503: IndexUnavailable}.items():

        def refuse(*_args: object, _status: int = status, **_options: object) -> None:
            raise UnexpectedResponse(_status, "", b"", Headers())

        monkeypatch.setattr(client, "query_points_groups", refuse)
        with pytest.raises(error):
            index.search(CORNERS[0], 1, encoder=ENCODER)


def test_a_missing_client_is_reported_by_its_code() -> None:
    program = (
        "import sys, ml.search\n"
        "assert not {'qdrant_client', 'grpc'} & set(sys.modules)\n"  # loaded only where it is used
        "sys.modules['qdrant_client'] = None\n"
        "from ml.formats.errors import InputError\n"
        "try:\n    import ml.search.qdrant.index\n"
        "except InputError as error:\n    print(error.code, error)\n"
    )
    output = run_program(program)
    assert output.startswith("qdrant_missing ")
    assert "qdrant-client" in output
