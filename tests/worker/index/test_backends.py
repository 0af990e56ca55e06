"""Indexes of every kind follow the rows, and each worker asks the one that is chosen."""

from collections.abc import Iterator

import pytest
from django.db import connection
from pytest_django import Settings
from qdrant_client import QdrantClient

from catalog.models import Backend, CatalogItem, ChangeFeed, Encoder, EncoderState, SearchChoice, SharedIndex
from ml.search import ExactIndex, Where
from ml.search.memory.ivf import ApproximateIndex
from ml.search.qdrant import payload
from tests.helpers.factories import make_embedding, make_encoder, unit
from tests.worker.queries.test_search import ask, fan, items_of
from worker.index import backends, refresh
from worker.index.backends import BackendNotPossible, SharedCatalogIndex, require_possible, shared
from worker.index.registry import index_of

pytestmark = [pytest.mark.django_db, pytest.mark.database]


@pytest.fixture
def encoder() -> Encoder:
    return make_encoder(state=EncoderState.LIVE)


@pytest.fixture(params=[Backend.PGVECTOR, Backend.QDRANT])
def backend(request: pytest.FixtureRequest, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Backend]:
    """A server that keeps indexes: the real PostgreSQL where the tests run on one, and Qdrant inside this process."""
    if request.param == Backend.PGVECTOR and connection.vendor != "postgresql":
        pytest.skip("pgvector is tested where the tests run on PostgreSQL")
    client = QdrantClient(":memory:")
    close = client.close
    monkeypatch.setattr(client, "close", lambda: None)  # a server outlives those who ask it
    settings.QDRANT_URL = "http://qdrant.example"
    monkeypatch.setattr(payload, "connected", lambda *_: client)
    monkeypatch.setattr(backends, "NOTICED", 0.0)
    yield request.param
    backends.forget_closed([])
    close()


def one_second_later() -> None:
    """What the threads of a worker do in each second."""
    refresh.feed("cpu@here")
    refresh.warm()


def test_what_is_chosen_answers_once_it_is_filled_and_memory_until_then(encoder: Encoder, backend: Backend) -> None:
    items = fan(encoder, 6)
    SearchChoice.choose(backend)
    assert type(index_of(encoder).index) is ExactIndex
    assert items_of(ask(encoder, unit(1)), index_of(encoder)) == [item.pk for item in items]
    one_second_later()
    assert isinstance(index_of(encoder), SharedCatalogIndex)
    assert items_of(ask(encoder, unit(1)), index_of(encoder)) == [item.pk for item in items]
    SearchChoice.choose(Backend.EXACT)
    one_second_later()
    assert type(index_of(encoder).index) is ExactIndex
    assert items_of(ask(encoder, unit(1)), index_of(encoder)) == [item.pk for item in items]


def test_changes_show_a_second_later_and_what_is_gone_at_once(encoder: Encoder, backend: Backend) -> None:
    items = fan(encoder, 6, category="Coat")
    SearchChoice.choose(backend)
    one_second_later()
    CatalogItem.objects.filter(pk__in=[items[4].pk, items[5].pk]).update(category="Hat")
    CatalogItem.objects.filter(pk=items[0].pk).update(is_active=False)
    items[1].mark_deleted()
    items[2].photos.get().delete()
    query = ask(encoder, unit(1), k=2)
    assert items_of(query, index_of(encoder)) == [items[3].pk, items[4].pk]
    hats = ask(encoder, unit(1), filters={"category": "hat"})
    one_second_later()
    assert items_of(query, index_of(encoder)) == [items[3].pk, items[4].pk]
    assert items_of(hats, index_of(encoder)) == [items[4].pk, items[5].pk]
    assert len(index_of(encoder).index) == 3
    CatalogItem.objects.filter(pk=items[0].pk).update(is_active=True)
    new = make_embedding(encoder, unit(1))
    one_second_later()
    assert items_of(query, index_of(encoder)) == [items[0].pk, new.item_id]


def test_an_item_that_was_removed_from_the_database_leaves_the_index_when_a_search_meets_it(
    encoder: Encoder, backend: Backend
) -> None:
    items = fan(encoder, 3)
    SearchChoice.choose(backend)
    one_second_later()
    items[0].delete()
    assert items_of(ask(encoder, unit(1)), index_of(encoder)) == [items[1].pk, items[2].pk]
    assert len(index_of(encoder).index) == 3  # nobody who asks waits for a writer
    one_second_later()
    assert len(index_of(encoder).index) == 2


def test_one_process_at_a_time_writes(encoder: Encoder, backend: Backend) -> None:
    fan(encoder, 2)
    row = SharedIndex.objects.of(encoder, backend)
    other = SharedIndex.objects.get(pk=row.pk)
    assert other.claim("cpu@elsewhere")
    assert not shared(row).feed("cpu@here")
    assert len(shared(row).index) == 0
    SharedIndex.objects.held_by("cpu@elsewhere").release()
    assert shared(row).feed("cpu@here")
    assert len(shared(row).index) == 2
    assert SharedIndex.objects.get().claim_token is None


def test_a_claim_that_was_given_to_another_ends_the_writing(encoder: Encoder, backend: Backend) -> None:
    fan(encoder, 3)
    row = SharedIndex.objects.of(encoder, backend)
    index = shared(row)
    index.part = 1
    renew, renewed = row.renew_claim, []

    def lose_it() -> None:
        renewed.append(1)
        if len(renewed) == 2:
            SharedIndex.objects.held_by("cpu@here").release()
            assert SharedIndex.objects.get().claim("cpu@elsewhere")
        renew()

    row.renew_claim = lose_it  # type: ignore[method-assign]
    assert not index.feed("cpu@here")
    assert len(index.index) == 1
    row.refresh_from_db()
    assert (row.claimed_by, row.ready_at) == ("cpu@elsewhere", None)


def test_a_long_filling_lets_the_others_have_their_turn(encoder: Encoder, backend: Backend) -> None:
    fan(encoder, 5)
    row = SharedIndex.objects.of(encoder, backend)
    index = shared(row)
    index.part = 2
    assert not index.feed("cpu@here", seconds=0)
    assert (len(index.index), row.ready_at) == (2, None)
    assert not index.feed("cpu@here", seconds=0)
    assert index.feed("cpu@here", seconds=0)
    assert len(index.index) == 5
    assert row.ready_at is not None


def test_many_changes_are_made_bit_by_bit_until_all_are(encoder: Encoder, backend: Backend) -> None:
    fan(encoder, 5)
    index = shared(SharedIndex.objects.of(encoder, backend))
    assert index.feed("cpu@here")
    CatalogItem.objects.update(category="Hat")
    index.part, done = 1, []
    while not done or not done[-1]:
        done.append(index.feed("cpu@here", seconds=0))
    assert len(done) <= 6
    hats = index.index.search(unit(1), 9, encoder=encoder.name, where=Where(category="hat"))
    assert len(hats) == 5


def test_an_index_of_another_history_does_not_answer_until_it_is_filled_anew(
    encoder: Encoder, backend: Backend, caplog: pytest.LogCaptureFixture
) -> None:
    items = fan(encoder, 3)
    SearchChoice.choose(backend)
    one_second_later()
    held = index_of(encoder)
    assert isinstance(held, SharedCatalogIndex)
    ChangeFeed.objects.update(history=7)
    held.part, row = 1, SharedIndex.objects.get()
    held.feed("cpu@here", seconds=0)
    assert "does not belong to these rows" in caplog.text
    row.refresh_from_db()
    assert row.ready_at is None
    refresh.stop_asking(set())
    assert type(index_of(encoder).index) is ExactIndex
    for _ in range(3):
        one_second_later()
    assert isinstance(index_of(encoder), SharedCatalogIndex)
    assert items_of(ask(encoder, unit(1)), index_of(encoder)) == [item.pk for item in items]


def test_the_index_of_an_encoder_that_is_gone_or_will_not_answer_is_taken_away(
    encoder: Encoder, backend: Backend
) -> None:
    rows = []
    for other in (make_encoder(), make_encoder(state=EncoderState.RETIRED)):
        fan(other, 1)
        row = SharedIndex.objects.of(other, backend)
        assert shared(row).feed("cpu@here")
        rows.append((row, shared(row).index))
    gone = rows[0][0].encoder
    assert gone is not None
    gone.embeddings.all().delete()
    gone.delete()
    assert [len(index) for _, index in rows] == [1, 1]
    refresh.tidy("cpu@here")
    assert not SharedIndex.objects.exists()


@pytest.mark.parametrize(("vectors", "kind"), [(3, ExactIndex), (4, ApproximateIndex)])
def test_auto_goes_by_the_number_of_vectors(
    encoder: Encoder, monkeypatch: pytest.MonkeyPatch, vectors: int, kind: type[ExactIndex]
) -> None:
    monkeypatch.setattr(backends, "APPROXIMATE_FROM", 4)
    SearchChoice.choose(Backend.AUTO)
    items = fan(encoder, vectors)
    assert type(index_of(encoder).index) is kind
    assert items_of(ask(encoder, unit(1)), index_of(encoder)) == [item.pk for item in items]
    one_second_later()
    assert type(index_of(encoder).index) is kind


def test_auto_changes_over_when_there_are_enough_and_not_back(
    encoder: Encoder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    monkeypatch.setattr(backends, "APPROXIMATE_FROM", 4)
    SearchChoice.choose(Backend.AUTO)
    items = fan(encoder, 3)
    one_second_later()
    assert type(index_of(encoder).index) is ExactIndex
    make_embedding(encoder, unit(0, 0, 1))
    one_second_later()
    one_second_later()
    assert type(index_of(encoder).index) is ApproximateIndex
    assert "is searched by ApproximateIndex now" in caplog.text
    items[0].delete()
    one_second_later()
    one_second_later()
    assert type(index_of(encoder).index) is ApproximateIndex


def test_what_a_site_cannot_have_is_refused(settings: Settings) -> None:
    settings.QDRANT_URL = ""
    with pytest.raises(BackendNotPossible, match="QDRANT_URL"):
        require_possible(Backend.QDRANT)
    if connection.vendor == "sqlite":
        with pytest.raises(BackendNotPossible, match="the database of this site is SQLite"):
            require_possible(Backend.PGVECTOR)
    for backend in (Backend.EXACT, Backend.APPROXIMATE, Backend.AUTO):
        require_possible(backend)


def test_the_settings_say_what_answers_until_somebody_chooses(settings: Settings) -> None:
    assert SearchChoice.current() == Backend.EXACT
    settings.SEARCH_BACKEND = "approximate"
    assert SearchChoice.current() == Backend.APPROXIMATE
    SearchChoice.choose(Backend.AUTO)
    SearchChoice.choose(Backend.EXACT)
    assert SearchChoice.current() == Backend.EXACT
