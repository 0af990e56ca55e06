"""The photo of a query that names an address: fetched by the task, from a server on this machine."""

import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.utils import timezone

from catalog import tasks
from catalog.models import QueryState, SimilarityQuery, UploadedPhoto
from catalog.models.queries import RESEND_AFTER
from tests.helpers.factories import jpeg, make_query, make_user
from tests.helpers.servers import Server, answer
from worker.tasks import net, sweep
from worker.tasks.net import fetch_photo, release_own_claims

pytestmark = pytest.mark.django_db

Serve = Callable[..., Server]


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """The messages that would be sent at a commit: task and queue."""
    messages: list[tuple[str, str]] = []

    def note(name: str, row_id: Any, *, queue: str, priority: int) -> None:
        messages.append((name, queue))

    monkeypatch.setattr(tasks, "_send_after_commit", note)
    return messages


def to_fetch(url: str, **columns: Any) -> SimilarityQuery:
    return make_query(source_url=url, state=QueryState.TO_FETCH, **columns)


def fetched(query: SimilarityQuery) -> SimilarityQuery:
    fetch_photo(str(query.pk))
    query.refresh_from_db()
    return query


def files(media: Path) -> list[Path]:
    return [path for path in media.rglob("*") if path.is_file()]


def test_what_is_at_the_address_becomes_the_photo_and_the_query_goes_on(
    serve: Serve, sent: list[tuple[str, str]]
) -> None:
    query = fetched(to_fetch(serve(answer(jpeg(size=(300, 400)))).url()))
    assert query.state == QueryState.QUEUED
    assert query.photo is not None
    assert (query.photo.owner, query.photo.width, query.photo.height) == (query.owner, 300, 400)
    assert query.timings["fetch"] > 0
    assert sent == [(tasks.EMBED_QUERY, "gpu")]


def test_a_visitor_may_name_an_address_too(serve: Serve) -> None:
    query = fetched(to_fetch(serve(answer(jpeg())).url(), visitor="a browser"))
    assert query.photo is not None
    assert (query.photo.owner, query.photo.visitor) == (None, "a browser")


@pytest.mark.database
def test_a_message_that_comes_twice_fetches_once(serve: Serve) -> None:
    server = serve(answer(jpeg()))
    query = fetched(to_fetch(server.url()))
    fetched(query)
    assert server.hits == 1


@pytest.mark.database
def test_the_same_picture_sent_and_fetched_is_one_photo(serve: Serve) -> None:
    owner = make_user()
    server = serve(answer(jpeg()))
    first, second = (fetched(to_fetch(server.url(), owner=owner)) for _ in range(2))
    assert first.photo == second.photo
    assert UploadedPhoto.objects.count() == 1


@pytest.mark.parametrize(
    ("said", "code"),
    [
        (answer(b"", status="404 Not Found"), "url_not_found"),
        (answer(b"<html>A page about a shirt</html>"), "photo_unreadable"),
        (answer(b""), "photo_empty"),
        (answer(jpeg()[:200]), "photo_damaged"),
        (answer(jpeg(size=(8, 8))), "photo_too_small"),
    ],
)
def test_what_is_no_picture_ends_the_query_with_a_code_and_leaves_nothing(
    serve: Serve, media: Path, sent: list[tuple[str, str]], said: bytes, code: str
) -> None:
    query = fetched(to_fetch(serve(said).url()))
    assert (query.state, query.error_code) == (QueryState.FAILED, code)
    assert query.error_detail
    assert not UploadedPhoto.objects.exists()
    assert files(media) == []
    assert sent == []


def test_an_address_inside_is_not_asked_and_ends_the_query() -> None:
    query = fetched(to_fetch("http://127.0.0.1/shirt.jpg"))
    assert (query.state, query.error_code) == (QueryState.FAILED, "url_forbidden")


def test_a_crop_that_leaves_too_little_of_the_picture_ends_the_query(serve: Serve, media: Path) -> None:
    crop = {"x": 0.0, "y": 0.0, "width": 0.1, "height": 0.1}
    query = fetched(to_fetch(serve(answer(jpeg(size=(60, 80)))).url(), crop=crop))
    assert (query.state, query.error_code) == (QueryState.FAILED, "crop_too_small")
    assert not UploadedPhoto.objects.exists()
    assert files(media) == []


@pytest.mark.database
def test_a_worker_whose_claim_was_given_away_leaves_no_photo(media: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    query = to_fetch("http://slow.example/")

    def too_slow(url: str) -> bytes:
        SimilarityQuery.objects.filter(pk=query.pk).release()
        SimilarityQuery.objects.claim(query.pk, QueryState.TO_FETCH, worker="net@other")
        return jpeg()

    monkeypatch.setattr(net, "fetch_picture", too_slow)
    fetched(query)
    assert (query.state, query.claimed_by) == (QueryState.FETCHING, "net@other")
    assert not UploadedPhoto.objects.exists()
    assert files(media) == []


def test_a_disk_that_is_full_gives_the_query_back_to_be_tried_again(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(**_: Any) -> str:
        raise OSError(28, "No space left on device")

    query = to_fetch(serve(answer(jpeg())).url())
    with monkeypatch.context() as patched:
        patched.setattr("catalog.services.uploads.store_picture", full)
        with pytest.raises(OSError, match="No space left"):
            fetch_photo(str(query.pk))
    query.refresh_from_db()
    assert (query.state, query.attempts) == (QueryState.TO_FETCH, 1)
    assert fetched(query).state == QueryState.QUEUED


def test_the_sweep_sends_each_waiting_query_to_the_worker_it_waits_for(sent: list[tuple[str, str]]) -> None:
    long_ago = timezone.now() - 2 * RESEND_AFTER
    make_query(source_url="http://a.example/", state=QueryState.TO_FETCH, nudged_at=long_ago)
    make_query(state=QueryState.QUEUED, nudged_at=long_ago)
    make_query(state=QueryState.EMBEDDED, nudged_at=long_ago)
    sweep.sweep()
    assert sorted(sent) == [(tasks.EMBED_QUERY, "gpu"), (tasks.FETCH_PHOTO, "net"), (tasks.SEARCH_QUERY, "cpu")]


@pytest.mark.database
def test_a_fetch_that_takes_too_long_is_given_to_another_worker(sent: list[tuple[str, str]]) -> None:
    query = to_fetch("http://a.example/")
    SimilarityQuery.objects.claim(query.pk, QueryState.TO_FETCH, worker="net@dead")
    long_ago = timezone.now() - timedelta(seconds=django_settings.CLAIM_SECONDS + 1)
    SimilarityQuery.objects.update(claimed_at=long_ago)
    sweep.sweep()
    query.refresh_from_db()
    assert query.state == QueryState.TO_FETCH
    assert sent == [(tasks.FETCH_PHOTO, "net")]


def test_a_worker_that_starts_gives_back_what_it_held_before_it_was_killed() -> None:
    query = to_fetch("http://a.example/")
    SimilarityQuery.objects.claim(query.pk, QueryState.TO_FETCH, worker="net@here")
    release_own_claims(SimpleNamespace(hostname="net@there"))
    query.refresh_from_db()
    assert query.state == QueryState.FETCHING
    release_own_claims(SimpleNamespace(hostname="net@here"))
    query.refresh_from_db()
    assert query.state == QueryState.TO_FETCH
    assert [taken.pk for taken in SimilarityQuery.objects.take_undelivered()] == [query.pk]


def test_no_more_than_two_pictures_are_decoded_at_a_time(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    at_work, most, lock = 0, 0, threading.Lock()
    both = threading.Barrier(2, timeout=10)

    def slowly(**_: Any) -> None:
        nonlocal at_work, most
        with lock:
            at_work += 1
            most = max(most, at_work)
        both.wait()
        with lock:
            at_work -= 1

    monkeypatch.setattr(net, "upload_attach_fetched", slowly)
    monkeypatch.setattr(net, "fetch_picture", lambda _: b"")
    monkeypatch.setattr(SimilarityQuery.objects, "claim", lambda *_, **__: SimilarityQuery(source_url="http://a/"))
    threads = [threading.Thread(target=fetch_photo, args=("any",)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 2
