"""Tasks of the `gpu` and `cpu` workers on the rows, with the shipped encoder. System tests cover the messages."""

from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from django.conf import settings as django_settings
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from catalog.models import (
    Embedding,
    Encoder,
    EncoderState,
    ImportJob,
    ImportState,
    ItemPhoto,
    QueryState,
    SimilarityQuery,
)
from demo.sample import draw_photo, sample_items
from tests.helpers.factories import make_encoder, make_item_photo, make_query, make_upload
from tests.helpers.pictures import jpeg_of
from worker.encoders.embedding import BATCH
from worker.startup import release_own_claims, warm_up
from worker.tasks import search, sweep

pytestmark = [pytest.mark.django_db, pytest.mark.database]

EMBEDDING, SEARCHING = 4, 9  # SQL statements of the two tasks

SHIPPED = django_settings.BASE_DIR / "ml" / "encoders" / django_settings.DEFAULT_ENCODER


@pytest.fixture
def encoder() -> Encoder:
    call_command("register_encoder", SHIPPED, live=True, verbosity=0)
    return Encoder.objects.get()


def drawn(number: int, view: int = 0) -> bytes:
    return jpeg_of(draw_photo(sample_items(12)[number], view))


def embed_all(encoder: Encoder) -> None:
    while encoder.missing_photos().exists():
        search.embed_catalog(encoder.pk)


def answer(query: SimilarityQuery) -> SimilarityQuery:
    search.embed_query(str(query.pk))
    search.search_query(str(query.pk))
    query.refresh_from_db()
    return query


def test_a_photo_of_an_item_finds_that_item(encoder: Encoder) -> None:
    photos = [make_item_photo(content=drawn(number)) for number in range(6)]
    embed_all(encoder)
    query = answer(make_query(make_upload(content=drawn(2, view=1)), k=3))
    assert query.state == QueryState.DONE
    assert [row.rank for row in query.recommendations.all()] == [1, 2, 3]
    assert query.recommendations.all()[0].photo == photos[2]
    assert {"queue", "embed", "search", "write", "total"} <= set(query.timings)


def test_messages_delivered_twice_do_their_work_once(encoder: Encoder) -> None:
    make_item_photo(content=drawn(0))
    embed_all(encoder)
    query = answer(make_query(make_upload(content=drawn(0))))
    finished_at = query.finished_at
    answer(query)
    assert query.finished_at == finished_at
    assert query.recommendations.count() == 1


def test_the_catalogue_is_embedded_in_batches_and_each_photo_once(encoder: Encoder) -> None:
    for _ in range(BATCH + 2):
        make_item_photo()
    search.embed_catalog(encoder.pk)
    search.embed_catalog(encoder.pk)
    assert Embedding.objects.count() == BATCH + 2
    vector = np.frombuffer(bytes(Embedding.objects.all()[0].vector), "<f4")
    assert vector.shape == (encoder.dim,)
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)
    encoder.refresh_from_db()
    assert encoder.claim_token is None
    assert encoder.revision == 2  # each write of vectors counts


def test_an_encoder_claimed_by_another_worker_is_not_embedded(encoder: Encoder) -> None:
    make_item_photo()
    encoder.claim("gpu@other")
    search.embed_catalog(encoder.pk)
    assert not Embedding.objects.exists()


def test_a_lost_photo_of_the_catalogue_is_recorded_and_does_not_stop_the_others(encoder: Encoder) -> None:
    lost, broken, good = make_item_photo(), make_item_photo(content=b"no picture"), make_item_photo()
    Path(lost.file.path).unlink()
    embed_all(encoder)
    assert [embedding.photo for embedding in Embedding.objects.all()] == [good]
    assert ItemPhoto.objects.get(pk=lost.pk).problem.startswith("FileNotFoundError")
    assert ItemPhoto.objects.get(pk=broken.pk).problem.startswith("UnidentifiedImageError")


def test_a_query_without_an_encoder_fails_with_a_code() -> None:
    query = answer(make_query())
    assert (query.state, query.error_code) == (QueryState.FAILED, "no_encoder")


def test_a_query_whose_photo_is_lost_fails_with_a_code(encoder: Encoder) -> None:
    query = make_query()
    Path(query.photo.file.path).unlink()
    assert (answer(query).state, query.error_code) == (QueryState.FAILED, "photo_gone")


def test_a_crash_requeues_the_query(encoder: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*_: object, **__: object) -> bytes:
        raise RuntimeError("out of memory")

    query = make_query()
    with monkeypatch.context() as patched:
        patched.setattr(search.embedding, "embed_query", crash)
        with pytest.raises(RuntimeError):
            search.embed_query(str(query.pk))
    query.refresh_from_db()
    assert (query.state, query.attempts) == (QueryState.QUEUED, 1)
    assert answer(query).state == QueryState.DONE


def test_the_number_of_sql_statements_does_not_depend_on_the_size_of_the_answer(encoder: Encoder) -> None:
    """Statements of the workers between a photo and its answer; of requests: catalog/api/test_statements.py."""
    for number in range(6):
        make_item_photo(content=drawn(number))
    embed_all(encoder)
    answer(make_query(make_upload(content=drawn(2, view=2))))  # the index is read
    for k in (1, 5):
        photo = make_upload(content=drawn(2, view=k))
        query = make_query(photo, k=k, created_at=photo.created_at - timedelta(milliseconds=1))
        with CaptureQueriesContext(connection) as embedding:
            search.embed_query(str(query.pk))
        with CaptureQueriesContext(connection) as searching:
            search.search_query(str(query.pk))
        assert query.recommendations.count() == k
        # The claim with its row, the live encoder, the photo; and the vector is written.
        assert len(embedding) == EMBEDDING, embedding.captured_queries
        # The claim with its row, its encoder, what is new in the index, the items and the colours of the photos; in a
        # savepoint the answer and the end.
        assert len(searching) <= SEARCHING, searching.captured_queries


def test_the_vector_of_the_same_photo_and_encoder_is_reused(encoder: Encoder) -> None:
    photo = make_upload(content=drawn(1))
    first = answer(make_query(photo))
    Path(photo.file.path).unlink()  # embedding it again would fail
    second = answer(make_query(photo))
    assert second.state == QueryState.DONE
    assert bytes(second.vector or b"") == bytes(first.vector or b"x")


def test_the_sweep_releases_expired_claims(encoder: Encoder) -> None:
    long_ago = timezone.now() - timedelta(seconds=django_settings.CLAIM_SECONDS + 1)
    stuck, at_work = make_query(), make_query()
    for query in (stuck, at_work):
        SimilarityQuery.objects.claim(query.pk, QueryState.QUEUED, worker="gpu@dead")
    SimilarityQuery.objects.filter(pk=stuck.pk).update(claimed_at=long_ago)
    encoder.claim("gpu@dead")
    Encoder.objects.update(claimed_at=long_ago)
    sweep.sweep()
    stuck.refresh_from_db()
    at_work.refresh_from_db()
    encoder.refresh_from_db()
    assert (stuck.state, at_work.state) == (QueryState.QUEUED, QueryState.EMBEDDING)
    assert encoder.claim_token is None


def test_the_sweep_marks_killed_imports_as_interrupted() -> None:
    job = ImportJob.objects.create(source="somewhere")
    ImportJob.objects.update(updated_at=timezone.now() - timedelta(minutes=3))
    sweep.sweep()
    job.refresh_from_db()
    assert job.state == ImportState.INTERRUPTED


def test_a_starting_worker_releases_the_claims_it_held_when_it_was_killed() -> None:
    query = make_query()
    SimilarityQuery.objects.claim(query.pk, QueryState.QUEUED, worker="gpu@here")
    release_own_claims("gpu@there")
    query.refresh_from_db()
    assert query.state == QueryState.EMBEDDING
    release_own_claims("gpu@here")
    query.refresh_from_db()
    assert query.state == QueryState.QUEUED


def test_a_worker_starts_although_the_live_encoder_cannot_be_loaded(caplog: pytest.LogCaptureFixture) -> None:
    make_encoder(name="lost", state=EncoderState.LIVE)
    warm_up({"gpu", "cpu"})
    assert "lost" in caplog.text


def test_registering_a_folder_without_an_encoder_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    with pytest.raises(CommandError) as failure:
        call_command("register_encoder", tmp_path / "nothing")
    assert failure.value.returncode == 2
    assert "\n" not in str(failure.value)
