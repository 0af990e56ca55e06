"""Search backends: every kind of index follows the rows, and a worker searches the chosen one."""

from collections.abc import Callable

import pytest
from django.db import connection
from pytest_django import Settings

from catalog.models import Backend, CatalogItem, ChangeFeed, Encoder, EncoderState, SearchChoice, SharedIndex
from ml.search import ExactIndex, Where
from ml.search.memory.ivf import ApproximateIndex
from tests.helpers.embedded_queries import find_item_ids, make_embedded_query, make_ranked_items
from tests.helpers.errors import raises_code
from tests.helpers.factories import make_embedding, make_encoder, unit
from worker.index import backends, refresh
from worker.index.backends import BackendUnavailable, SharedCatalogIndex, open_shared, require_available
from worker.index.registry import index_of

pytestmark = [pytest.mark.django_db, pytest.mark.database]


@pytest.fixture
def encoder() -> Encoder:
    return make_encoder(state=EncoderState.LIVE)


def test_memory_answers_until_the_chosen_index_is_filled(
    encoder: Encoder, backend: Backend, run_threads: Callable[[], None]
) -> None:
    items = make_ranked_items(encoder, 6)
    SearchChoice.choose(backend)
    assert type(index_of(encoder).index) is ExactIndex
    assert find_item_ids(make_embedded_query(encoder, unit(1)), index_of(encoder)) == [item.pk for item in items]
    run_threads()
    assert isinstance(index_of(encoder), SharedCatalogIndex)
    assert find_item_ids(make_embedded_query(encoder, unit(1)), index_of(encoder)) == [item.pk for item in items]
    SearchChoice.choose(Backend.EXACT)
    run_threads()
    assert type(index_of(encoder).index) is ExactIndex
    assert find_item_ids(make_embedded_query(encoder, unit(1)), index_of(encoder)) == [item.pk for item in items]


def test_changes_appear_a_second_later_and_deletions_at_once(
    encoder: Encoder, backend: Backend, run_threads: Callable[[], None]
) -> None:
    items = make_ranked_items(encoder, 6, category="Coat")
    SearchChoice.choose(backend)
    run_threads()
    CatalogItem.objects.filter(pk__in=[items[4].pk, items[5].pk]).update(category="Hat")
    CatalogItem.objects.filter(pk=items[0].pk).update(is_active=False)
    items[1].mark_deleted()
    items[2].photos.get().delete()
    query = make_embedded_query(encoder, unit(1), k=2)
    assert find_item_ids(query, index_of(encoder)) == [items[3].pk, items[4].pk]
    hats = make_embedded_query(encoder, unit(1), filters={"category": "hat"})
    run_threads()
    assert find_item_ids(query, index_of(encoder)) == [items[3].pk, items[4].pk]
    assert find_item_ids(hats, index_of(encoder)) == [items[4].pk, items[5].pk]
    assert len(index_of(encoder).index) == 3
    CatalogItem.objects.filter(pk=items[0].pk).update(is_active=True)
    new = make_embedding(encoder, unit(1))
    run_threads()
    assert find_item_ids(query, index_of(encoder)) == [items[0].pk, new.item_id]


def test_a_search_removes_an_item_that_is_no_longer_in_the_database_from_the_index(
    encoder: Encoder, backend: Backend, run_threads: Callable[[], None]
) -> None:
    items = make_ranked_items(encoder, 3)
    SearchChoice.choose(backend)
    run_threads()
    items[0].delete()
    assert find_item_ids(make_embedded_query(encoder, unit(1)), index_of(encoder)) == [items[1].pk, items[2].pk]
    assert len(index_of(encoder).index) == 3  # a search does not wait for a writer
    run_threads()
    assert len(index_of(encoder).index) == 2


def test_one_process_at_a_time_writes_to_a_shared_index(encoder: Encoder, backend: Backend) -> None:
    make_ranked_items(encoder, 2)
    row = SharedIndex.objects.get_or_create_for(encoder, backend)
    other = SharedIndex.objects.get(pk=row.pk)
    assert other.claim("cpu@elsewhere")
    assert not open_shared(row).sync("cpu@here")
    assert len(open_shared(row).index) == 0
    SharedIndex.objects.held_by("cpu@elsewhere").release_claims()
    assert open_shared(row).sync("cpu@here")
    assert len(open_shared(row).index) == 2
    assert SharedIndex.objects.get().claim_token is None


def test_a_lost_claim_stops_the_writing(encoder: Encoder, backend: Backend) -> None:
    make_ranked_items(encoder, 3)
    row = SharedIndex.objects.get_or_create_for(encoder, backend)
    index = open_shared(row)
    index.batch_size = 1
    renew, renewed = row.renew_claim, []

    def lose_it() -> None:
        renewed.append(1)
        if len(renewed) == 2:
            SharedIndex.objects.held_by("cpu@here").release_claims()
            assert SharedIndex.objects.get().claim("cpu@elsewhere")
        renew()

    row.renew_claim = lose_it  # type: ignore[method-assign]
    assert not index.sync("cpu@here")
    assert len(index.index) == 1
    row.refresh_from_db()
    assert (row.claimed_by, row.ready_at) == ("cpu@elsewhere", None)


def test_filling_an_index_stops_after_its_share_of_time(encoder: Encoder, backend: Backend) -> None:
    make_ranked_items(encoder, 5)
    row = SharedIndex.objects.get_or_create_for(encoder, backend)
    index = open_shared(row)
    index.batch_size = 2
    assert not index.sync("cpu@here", seconds=0)
    assert (len(index.index), row.ready_at) == (2, None)
    assert not index.sync("cpu@here", seconds=0)
    assert index.sync("cpu@here", seconds=0)
    assert len(index.index) == 5
    assert row.ready_at is not None


def test_many_changes_are_applied_in_batches(encoder: Encoder, backend: Backend) -> None:
    make_ranked_items(encoder, 5)
    index = open_shared(SharedIndex.objects.get_or_create_for(encoder, backend))
    assert index.sync("cpu@here")
    CatalogItem.objects.update(category="Hat")
    index.batch_size, done = 1, []
    while not done or not done[-1]:
        done.append(index.sync("cpu@here", seconds=0))
    assert len(done) <= 6
    hats = index.index.search(unit(1), 9, encoder=encoder.name, where=Where(category="hat"))
    assert len(hats) == 5


def test_an_index_of_another_feed_does_not_answer_until_it_is_rebuilt(
    encoder: Encoder, backend: Backend, caplog: pytest.LogCaptureFixture, run_threads: Callable[[], None]
) -> None:
    items = make_ranked_items(encoder, 3)
    SearchChoice.choose(backend)
    run_threads()
    held = index_of(encoder)
    assert isinstance(held, SharedCatalogIndex)
    ChangeFeed.objects.update(history=7)
    held.batch_size, row = 1, SharedIndex.objects.get()
    held.sync("cpu@here", seconds=0)
    assert "does not belong to these rows" in caplog.text
    row.refresh_from_db()
    assert row.ready_at is None
    refresh.release_shared(set())
    assert type(index_of(encoder).index) is ExactIndex
    for _ in range(3):
        run_threads()
    assert isinstance(index_of(encoder), SharedCatalogIndex)
    assert find_item_ids(make_embedded_query(encoder, unit(1)), index_of(encoder)) == [item.pk for item in items]


def test_the_index_of_a_deleted_or_retired_encoder_is_removed(encoder: Encoder, backend: Backend) -> None:
    rows = []
    for other in (make_encoder(), make_encoder(state=EncoderState.RETIRED)):
        make_ranked_items(other, 1)
        row = SharedIndex.objects.get_or_create_for(other, backend)
        assert open_shared(row).sync("cpu@here")
        rows.append((row, open_shared(row).index))
    deleted = rows[0][0].encoder
    assert deleted is not None
    deleted.embeddings.all().delete()
    deleted.delete()
    assert [len(index) for _, index in rows] == [1, 1]
    refresh.maintain("cpu@here")
    assert not SharedIndex.objects.exists()


@pytest.mark.parametrize(("vectors", "kind"), [(3, ExactIndex), (4, ApproximateIndex)])
def test_auto_chooses_by_the_number_of_vectors(
    encoder: Encoder,
    monkeypatch: pytest.MonkeyPatch,
    vectors: int,
    kind: type[ExactIndex],
    run_threads: Callable[[], None],
) -> None:
    monkeypatch.setattr(backends, "APPROXIMATE_FROM", 4)
    SearchChoice.choose(Backend.AUTO)
    items = make_ranked_items(encoder, vectors)
    assert type(index_of(encoder).index) is kind
    assert find_item_ids(make_embedded_query(encoder, unit(1)), index_of(encoder)) == [item.pk for item in items]
    run_threads()
    assert type(index_of(encoder).index) is kind


def test_auto_switches_when_there_are_enough_vectors_and_never_back(
    encoder: Encoder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, run_threads: Callable[[], None]
) -> None:
    caplog.set_level("INFO")
    monkeypatch.setattr(backends, "APPROXIMATE_FROM", 4)
    SearchChoice.choose(Backend.AUTO)
    items = make_ranked_items(encoder, 3)
    run_threads()
    assert type(index_of(encoder).index) is ExactIndex
    make_embedding(encoder, unit(0, 0, 1))
    run_threads()
    run_threads()
    assert type(index_of(encoder).index) is ApproximateIndex
    assert "searched by ApproximateIndex" in caplog.text
    items[0].delete()
    run_threads()
    run_threads()
    assert type(index_of(encoder).index) is ApproximateIndex


def test_a_backend_that_the_site_lacks_is_refused(settings: Settings) -> None:
    settings.QDRANT_URL = ""
    with raises_code(BackendUnavailable, "backend_unavailable", "QDRANT_URL"):
        require_available(Backend.QDRANT)
    if connection.vendor == "sqlite":
        with raises_code(BackendUnavailable, "backend_unavailable", "SQLite"):
            require_available(Backend.PGVECTOR)
    for backend in (Backend.EXACT, Backend.APPROXIMATE, Backend.AUTO):
        require_available(backend)


def test_the_setting_is_the_default_until_a_backend_is_chosen(settings: Settings) -> None:
    assert SearchChoice.current() == Backend.EXACT
    settings.SEARCH_BACKEND = "approximate"
    assert SearchChoice.current() == Backend.APPROXIMATE
    SearchChoice.choose(Backend.AUTO)
    SearchChoice.choose(Backend.EXACT)
    assert SearchChoice.current() == Backend.EXACT
