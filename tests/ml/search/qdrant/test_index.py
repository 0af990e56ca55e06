"""Qdrant, by its client's local mode, which has no graph and no rounding; and by a server where QDRANT_URL is set."""

import os
import socket
import subprocess
import sys
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

from ml.search import ANY, EncoderMismatch, IndexUnavailable, IndexUnreadable, SearchError, Where, rows_of
from ml.search.qdrant import index as module
from ml.search.qdrant.index import Layout, QdrantIndex
from ml.vectors import ShapeError, unit_rows
from tests.helpers.search_contract import Contract, Make
from tests.helpers.search_rows import CORNERS, ENCODER, NO_FACTS, Photo, Photos, best_of, rows_from, told

SERVER = os.environ.get("QDRANT_URL", "")


class TestInMemory(Contract):
    many = 400  # local mode compares in Python, a tenth of a millisecond for each row

    @pytest.fixture
    def make(self) -> Make:
        return lambda encoder, dim: QdrantIndex(QdrantClient(":memory:"), encoder, dim)


@pytest.mark.skipif(not SERVER, reason="QDRANT_URL names no Qdrant server")
class TestOnAServer(Contract):
    """Each test has an index of its own there, and removes it."""

    @pytest.fixture
    def make(self) -> Iterator[Make]:
        made: list[QdrantIndex] = []

        def one(encoder: str, dim: int) -> QdrantIndex:
            made.append(QdrantIndex(SERVER, encoder, dim, name=f"test-{uuid.uuid4()}", timeout=30))
            return made[-1]

        yield one
        client = QdrantClient(SERVER, timeout=30)
        for index in made:
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


# --- whose index it is


def test_an_index_is_opened_again_with_all_that_is_in_it(client: QdrantClient, index: QdrantIndex) -> None:
    index.update(rows_of([1, 2], [10, 20], CORNERS[:2]), position={"at": 3})
    again = QdrantIndex(client, ENCODER, 4)
    assert len(again) == 2
    assert again.position == {"at": 3}
    assert told(again.search(CORNERS[1], 1, encoder=ENCODER)) == [(20, 2, 1.0)]


def test_an_index_in_a_folder_outlives_its_process(tmp_path: Path) -> None:
    first = QdrantClient(path=str(tmp_path))
    index = QdrantIndex(first, ENCODER, 4)
    index.update(rows_of([1, 2], [10, 20], CORNERS[:2], price=[5.5, None]), position={"at": 3})
    index.clear()
    index.update(rows_of([3], [30], CORNERS[:1], price=7.5), position={"at": 4})
    first.close()
    second = QdrantClient(path=str(tmp_path))
    again = QdrantIndex(second, ENCODER, 4)
    assert again.position == {"at": 4}
    assert told(again.search(CORNERS[0], 5, encoder=ENCODER, where=Where(min_price=7))) == [(30, 3, 1.0)]
    second.close()


def test_the_index_of_another_encoder_or_length_is_refused(client: QdrantClient) -> None:
    QdrantIndex(client, ENCODER, 4, name="photos")
    with pytest.raises(EncoderMismatch, match=r"'lite0@abc', not 'lite1@abc'"):
        QdrantIndex(client, "lite1@abc", 4, name="photos")
    with pytest.raises(ShapeError, match="length 4, not 5"):
        QdrantIndex(client, ENCODER, 5, name="photos")
    assert len(QdrantIndex(client, ENCODER, 4, name="photos")) == 0


def test_each_encoder_has_an_index_of_its_own(client: QdrantClient) -> None:
    encoders = [ENCODER, "lite0@abd", "a/b: c?", "a/b: c*", "Bäcker", "x" * 300, "\ud800"]
    for number, encoder in enumerate(encoders):
        QdrantIndex(client, encoder, 4).update(rows_of([1], [number], CORNERS[:1]))
    for number, encoder in enumerate(encoders):
        hits = QdrantIndex(client, encoder, 4).search(CORNERS[0], 5, encoder=encoder)
        assert told(hits) == [(number, 1, 1.0)]


def test_something_else_of_that_name_is_not_taken_for_an_index(client: QdrantClient) -> None:
    client.create_collection("a-forum", vectors_config=models.VectorParams(size=4, distance=models.Distance.COSINE))
    there = models.CreateAlias(collection_name="a-forum", alias_name="photos")
    client.update_collection_aliases([models.CreateAliasOperation(create_alias=there)])
    with pytest.raises(IndexUnreadable, match="'photos'"):
        QdrantIndex(client, ENCODER, 4, name="photos")


def test_a_start_that_was_cut_off_is_completed_by_the_next(
    client: QdrantClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as cut:
        cut.setattr(client, "update_collection_aliases", away)
        with pytest.raises(IndexUnavailable):
            QdrantIndex(client, ENCODER, 4)
    assert client.get_aliases().aliases == []
    index = QdrantIndex(client, ENCODER, 4)
    assert (len(index), index.position) == (0, {})


# --- the switch


def collections(client: QdrantClient) -> list[str]:
    return sorted(collection.name for collection in client.get_collections().collections)


def test_a_rebuilt_index_takes_over_in_one_step(client: QdrantClient, index: QdrantIndex) -> None:
    reader = QdrantIndex(client, ENCODER, 4)
    index.update(rows_of([1, 2], [10, 20], CORNERS[:2]), position={"at": 1})
    new = index.rebuild()
    new.update(rows_of([1, 3], [10, 30], CORNERS[:2]), position={"at": 9})
    assert items_near(reader) == [10, 20]
    assert reader.position == {"at": 1}
    assert items_near(new) == [10, 30]
    new.take_over()
    assert items_near(reader) == items_near(index) == items_near(new) == [10, 30]
    assert reader.position == index.position == {"at": 9}
    assert len(collections(client)) == 1


def test_the_collections_take_turns(client: QdrantClient, index: QdrantIndex) -> None:
    names = []
    for number in range(3):
        names += collections(client)
        index.clear()
        index.update(rows_of([number], [number], CORNERS[:1]))
        assert items_near(index) == [number]
    assert names == [f"{index.name}-{slot}" for slot in "aba"]


def test_an_unfinished_rebuild_is_thrown_away_by_the_next(client: QdrantClient, index: QdrantIndex) -> None:
    index.update(rows_of([1], [10], CORNERS[:1]))
    index.rebuild().update(rows_of([2], [20], CORNERS[:1]), position={"at": 1})
    new = index.rebuild()
    assert (len(new), new.position) == (0, {})
    new.clear()
    new.update(rows_of([3], [30], CORNERS[:1]))
    assert items_near(index) == [10]
    new.take_over()
    assert items_near(index) == [30]


def test_a_switch_that_fails_leaves_the_old_index_in_place(
    client: QdrantClient, index: QdrantIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    index.update(rows_of([1], [10], CORNERS[:1]), position={"at": 1})
    with monkeypatch.context() as cut:
        cut.setattr(client, "update_collection_aliases", away)
        with pytest.raises(IndexUnavailable):
            index.clear()
    assert items_near(index) == [10]
    assert index.position == {"at": 1}
    index.clear()
    assert len(index) == 0


# --- a change that is cut off


def away(*_args: object, **_options: object) -> None:
    raise ResponseHandlingException(ConnectionError("connection reset"))


@pytest.mark.parametrize("step", ["upsert", "batch_update_points"])
def test_a_change_that_was_cut_off_is_healed_by_making_it_again(
    client: QdrantClient, index: QdrantIndex, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Item 10 loses photo 1 and gets 4; photo 2 goes to item 30. No item is missing at any time."""
    index.update(rows_of([1, 2, 3], [10, 20, 20], CORNERS[:3]), position={"at": 1})
    change = rows_of([4, 2], [10, 30], CORNERS[[3, 1]], category="Hat")
    with monkeypatch.context() as cut:
        cut.setattr(client, step, away)
        with pytest.raises(IndexUnavailable, match="does not answer"):
            index.update(change, items=[10], position={"at": 2})
    assert {10, 20} <= set(items_near(index))
    assert index.position == {"at": 1}
    for _ in range(2):
        index.update(change, items=[10], position={"at": 2})
        assert index.position == {"at": 2}
        assert index.contains([1, 2, 3, 4]).tolist() == [False, True, True, True]
        assert told(index.search(CORNERS[3], 1, encoder=ENCODER)) == [(10, 4, 1.0)]
        assert told(index.search(CORNERS[1], 1, encoder=ENCODER, where=Where(category="hat"))) == [(30, 2, 1.0)]


def grid_point(rng: np.random.Generator) -> np.ndarray:
    return unit_rows([rng.integers(-1, 2, 4) + np.array([0, 0, 0, 2.5])])[0]


@pytest.mark.parametrize("seed", range(3))
def test_after_any_changes_and_cuts_it_answers_like_a_comparison_with_every_row(
    client: QdrantClient, index: QdrantIndex, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Vectors come from a coarse grid, so that ties are common; every third change is cut off once."""
    rng = np.random.default_rng(seed)
    photos: Photos = {}
    for change in range(15):
        items, gone = rng.integers(0, 9, rng.integers(0, 3)).tolist(), rng.integers(0, 40, 2).tolist()
        put = {
            int(photo): Photo(
                int(rng.integers(0, 9)),
                grid_point(rng),
                NO_FACTS | {"category": "Ab"[rng.integers(2)], "price": [None, 1.0, 2.0][rng.integers(3)]},
            )
            for photo in rng.choice(40, rng.integers(1, 7), replace=False)
        }
        photos = {photo: row for photo, row in photos.items() if row.item not in items and photo not in gone} | put
        if change % 3 == 0:
            with monkeypatch.context() as cut:
                cut.setattr(client, "batch_update_points", away)
                with pytest.raises(IndexUnavailable):
                    index.update(rows_from(put), items=items, photos=gone, position={"at": change})
        index.update(rows_from(put), items=items, photos=gone, position={"at": change})
        assert (len(index), index.position) == (len(photos), {"at": change})
        for where in (ANY, Where(category="a"), Where(category="B", min_price=2), Where(max_price=1)):
            query = grid_point(rng)
            hits = index.search(query, 4, encoder=ENCODER, where=where)
            assert told(hits) == best_of(photos, query, 4, where)


def test_a_large_change_goes_in_parts_and_only_its_end_takes_things_out(
    client: QdrantClient, index: QdrantIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FLOATS_AT_ONCE", 12)
    vectors = unit_rows(np.random.default_rng(1).normal(size=(10, 4)))
    sent, real = [], client.upsert
    monkeypatch.setattr(client, "upsert", lambda place, batch, wait: sent.append(len(batch.ids)) or real(place, batch))
    index.update(rows_of(range(10), [7] * 10, vectors))
    assert sent == [3, 3, 3, 1]
    index.update(rows_of(range(5, 12), [7] * 7, vectors[:7]), items=[7])
    assert len(index) == 7
    assert np.array_equal(index.vectors_of(range(11, 4, -1)), vectors[6::-1])
    with pytest.raises(AttributeError):
        index.update(rows_of([1], [1], CORNERS[:1], category=[None]))
    assert len(index) == 7  # what cannot be sent is found before the first part goes


# --- what is asked and what is kept


def test_more_equals_than_are_asked_for_at_once_still_go_by_item(index: QdrantIndex) -> None:
    order = np.random.default_rng(3).permutation(200)
    index.update(rows_of(1000 + order, order // 2, np.repeat(CORNERS[:1], 200, axis=0)))
    hits = index.search(CORNERS[0], 5, encoder=ENCODER)
    assert told(hits) == [(item, 1000 + 2 * item, 1.0) for item in range(5)]


def test_the_number_of_hits_is_not_bound_by_how_many_a_server_is_asked_for(index: QdrantIndex) -> None:
    index.update(rows_of([1, 2], [10, 20], CORNERS[:2]))
    assert len(index.search(CORNERS[0], 10**15, encoder=ENCODER)) == 2
    index.clear()
    assert index.search(CORNERS[0], 10**15, encoder=ENCODER) == []


def test_a_server_that_stops_looking_for_groups_is_asked_again(
    client: QdrantClient, index: QdrantIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A real one does after five tries, when a few items have all the nearest photos."""
    angles = np.linspace(0, 1, 30)
    index.update(
        rows_of(range(30), range(30), np.column_stack([np.cos(angles), np.sin(angles), 0 * angles, 0 * angles]))
    )
    real = client.query_points_groups
    monkeypatch.setattr(
        client, "query_points_groups", lambda *args, limit, **more: real(*args, limit=min(limit, 4), **more)
    )
    assert [hit.item_id for hit in index.search(CORNERS[0], 11, encoder=ENCODER)] == list(range(11))


def test_infinite_prices_are_larger_than_all_others(index: QdrantIndex) -> None:
    index.update(rows_of([1, 2, 3, 4], [1, 2, 3, 4], CORNERS, price=[np.inf, -np.inf, 5, None]))
    for where, items in {
        Where(min_price=-np.inf): [1, 2, 3],
        Where(max_price=np.inf): [1, 2, 3],
        Where(min_price=np.inf): [1],
        Where(min_price=-1e300, max_price=1e300): [3],
    }.items():
        assert sorted(items_near(index, where)) == items


def test_words_that_cannot_be_sent_as_they_are_find_each_other(index: QdrantIndex) -> None:
    """JSON can spell half a surrogate pair, UTF-8 cannot."""
    words = ["\ud800", "\ud801", "?", "a\0b", ""]
    index.update(rows_of(range(5), range(5), np.repeat(CORNERS[:1], 5, axis=0), category=words))
    for number, word in enumerate(words):
        assert items_near(index, Where(category=word)) == [number]
    assert items_near(index, Where(brand="\udfff")) == []


def test_ids_below_zero_are_kept(client: QdrantClient, index: QdrantIndex) -> None:
    """Qdrant's own ids are not signed."""
    index.update(rows_of([-1, -(2**63), 2**63 - 1], [-5, 6, 7], CORNERS[:3]))
    assert told(index.search(CORNERS[0], 1, encoder=ENCODER)) == [(-5, -1, 1.0)]
    assert index.contains([-1, -(2**63), 2**63 - 1, 1]).tolist() == [True, True, True, False]
    points, _ = client.scroll(index.name, limit=9)
    assert all(isinstance(point.id, str) or 0 <= point.id < 2**64 for point in points)
    index.update(rows_of([], [], []), items=[-5], photos=[-(2**63)])
    assert items_near(index) == [7]


def test_a_new_collection_is_laid_out_as_told(client: QdrantClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Local mode forgets all of this, so what is sent is looked at."""
    asked, real = {}, client.create_collection
    monkeypatch.setattr(
        client, "create_collection", lambda name, **options: asked.update(options) or real(name, **options)
    )
    QdrantIndex(client, ENCODER, 4, layout=Layout(shards=6, replicas=2, links=24, on_disk=False))
    assert (asked["shard_number"], asked["replication_factor"], asked["hnsw_config"].m) == (6, 2, 24)
    assert asked["vectors_config"]["photo"].distance == models.Distance.DOT  # their length is checked here
    assert not asked["vectors_config"]["photo"].on_disk
    assert asked["quantization_config"].scalar.type == models.ScalarType.INT8


# --- no server


def test_a_server_that_is_away_is_said_at_once() -> None:
    with socket.socket() as closed:  # bound, but nobody listens
        closed.bind(("127.0.0.1", 0))
        begun = time.monotonic()
        with pytest.raises(IndexUnavailable, match="does not answer"):
            QdrantIndex(f"http://127.0.0.1:{closed.getsockname()[1]}", ENCODER, 4)
        assert time.monotonic() - begun < 3


def test_a_server_that_is_none_is_unavailable_too() -> None:
    """Something listens and hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        other.settimeout(5)
        threading.Thread(target=lambda: other.accept()[0].close()).start()
        with pytest.raises(IndexUnavailable):
            QdrantIndex(f"http://127.0.0.1:{other.getsockname()[1]}", ENCODER, 4)


@pytest.mark.parametrize("address", ["", "qdrant:6333", "ftp://qdrant", "http://[::1"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(SearchError, match="address"):
        QdrantIndex(address, ENCODER, 4)


def test_an_index_that_somebody_removed_is_unreadable(
    client: QdrantClient, index: QdrantIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Local mode has errors of its own for this, so the server's is put in its place."""
    for status, error in {404: IndexUnreadable, 401: IndexUnavailable, 503: IndexUnavailable}.items():

        def refuse(*_args: object, _status: int = status, **_options: object) -> None:
            raise UnexpectedResponse(_status, "", b"", Headers())

        monkeypatch.setattr(client, "query_points_groups", refuse)
        with pytest.raises(error):
            index.search(CORNERS[0], 1, encoder=ENCODER)


def test_without_the_client_there_is_a_plain_sentence() -> None:
    program = (
        "import sys, ml.search\n"
        "assert not {'qdrant_client', 'grpc'} & set(sys.modules)\n"  # loaded only where it is used
        "sys.modules['qdrant_client'] = None\n"
        "from ml.formats.errors import InputError\n"
        "try:\n    import ml.search.qdrant.index\n"
        "except InputError as error:\n    print(error)\n"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "An index in Qdrant needs the package qdrant-client, which is not installed."
