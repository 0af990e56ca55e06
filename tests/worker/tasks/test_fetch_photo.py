"""fetch_photo: the photo at a query's URL is downloaded, from a server on this machine."""

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
from tests.helpers.servers import Server, http_response
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


def make_query_to_fetch(url: str, **columns: Any) -> SimilarityQuery:
    return make_query(source_url=url, state=QueryState.TO_FETCH, **columns)


def fetch(query: SimilarityQuery) -> SimilarityQuery:
    fetch_photo(str(query.pk))
    query.refresh_from_db()
    return query


def files(media: Path) -> list[Path]:
    return [path for path in media.rglob("*") if path.is_file()]


def test_the_download_becomes_the_photo_and_the_query_is_queued(serve: Serve, sent: list[tuple[str, str]]) -> None:
    query = fetch(make_query_to_fetch(serve(http_response(jpeg(size=(300, 400)))).url()))
    assert query.state == QueryState.QUEUED
    assert query.photo is not None
    assert (query.photo.owner, query.photo.width, query.photo.height) == (query.owner, 300, 400)
    assert query.timings["fetch"] > 0
    assert sent == [(tasks.EMBED_QUERY, "gpu")]


def test_a_visitor_may_send_a_url(serve: Serve) -> None:
    query = fetch(make_query_to_fetch(serve(http_response(jpeg())).url(), visitor="a browser"))
    assert query.photo is not None
    assert (query.photo.owner, query.photo.visitor) == (None, "a browser")


@pytest.mark.database
def test_a_message_that_comes_twice_fetches_once(serve: Serve) -> None:
    server = serve(http_response(jpeg()))
    query = fetch(make_query_to_fetch(server.url()))
    fetch(query)
    assert server.hits == 1


@pytest.mark.database
def test_the_same_picture_sent_and_fetched_is_one_photo(serve: Serve) -> None:
    owner = make_user()
    server = serve(http_response(jpeg()))
    first, second = (fetch(make_query_to_fetch(server.url(), owner=owner)) for _ in range(2))
    assert first.photo == second.photo
    assert UploadedPhoto.objects.count() == 1


@pytest.mark.parametrize(
    ("response", "code"),
    [
        (http_response(b"", status="404 Not Found"), "url_not_found"),
        (http_response(b"<html>A page about a shirt</html>"), "photo_unreadable"),
        (http_response(b""), "photo_empty"),
        (http_response(jpeg()[:200]), "photo_damaged"),
        (http_response(jpeg(size=(8, 8))), "photo_too_small"),
    ],
)
def test_a_download_that_is_no_photo_fails_the_query_with_a_code_and_leaves_no_file(
    serve: Serve, media: Path, sent: list[tuple[str, str]], response: bytes, code: str
) -> None:
    query = fetch(make_query_to_fetch(serve(response).url()))
    assert (query.state, query.error_code) == (QueryState.FAILED, code)
    assert query.error_detail
    assert not UploadedPhoto.objects.exists()
    assert files(media) == []
    assert sent == []


def test_a_private_address_is_not_requested_and_fails_the_query() -> None:
    query = fetch(make_query_to_fetch("http://127.0.0.1/shirt.jpg"))
    assert (query.state, query.error_code) == (QueryState.FAILED, "url_forbidden")


def test_a_crop_that_is_too_small_fails_the_query(serve: Serve, media: Path) -> None:
    crop = {"x": 0.0, "y": 0.0, "width": 0.1, "height": 0.1}
    query = fetch(make_query_to_fetch(serve(http_response(jpeg(size=(60, 80)))).url(), crop=crop))
    assert (query.state, query.error_code) == (QueryState.FAILED, "crop_too_small")
    assert not UploadedPhoto.objects.exists()
    assert files(media) == []


@pytest.mark.database
def test_a_worker_that_lost_its_claim_leaves_no_photo(media: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    query = make_query_to_fetch("http://slow.example/")

    def too_slow(url: str) -> bytes:
        SimilarityQuery.objects.filter(pk=query.pk).release_claims()
        SimilarityQuery.objects.claim(query.pk, QueryState.TO_FETCH, worker="net@other")
        return jpeg()

    monkeypatch.setattr(net, "fetch_picture", too_slow)
    fetch(query)
    assert (query.state, query.claimed_by) == (QueryState.FETCHING, "net@other")
    assert not UploadedPhoto.objects.exists()
    assert files(media) == []


def test_a_full_disk_requeues_the_query(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(**_: Any) -> str:
        raise OSError(28, "No space left on device")

    query = make_query_to_fetch(serve(http_response(jpeg())).url())
    with monkeypatch.context() as patched:
        patched.setattr("catalog.services.uploads.store_picture", full)
        with pytest.raises(OSError, match="No space left"):
            fetch_photo(str(query.pk))
    query.refresh_from_db()
    assert (query.state, query.attempts) == (QueryState.TO_FETCH, 1)
    assert fetch(query).state == QueryState.QUEUED


def test_the_sweep_sends_each_waiting_query_to_its_queue(sent: list[tuple[str, str]]) -> None:
    long_ago = timezone.now() - 2 * RESEND_AFTER
    make_query(source_url="http://a.example/", state=QueryState.TO_FETCH, nudged_at=long_ago)
    make_query(state=QueryState.QUEUED, nudged_at=long_ago)
    make_query(state=QueryState.EMBEDDED, nudged_at=long_ago)
    sweep.sweep()
    assert sorted(sent) == [(tasks.EMBED_QUERY, "gpu"), (tasks.FETCH_PHOTO, "net"), (tasks.SEARCH_QUERY, "cpu")]


@pytest.mark.database
def test_a_fetch_whose_claim_expires_is_sent_again(sent: list[tuple[str, str]]) -> None:
    query = make_query_to_fetch("http://a.example/")
    SimilarityQuery.objects.claim(query.pk, QueryState.TO_FETCH, worker="net@dead")
    long_ago = timezone.now() - timedelta(seconds=django_settings.CLAIM_SECONDS + 1)
    SimilarityQuery.objects.update(claimed_at=long_ago)
    sweep.sweep()
    query.refresh_from_db()
    assert query.state == QueryState.TO_FETCH
    assert sent == [(tasks.FETCH_PHOTO, "net")]


def test_a_starting_worker_releases_the_claims_it_held_when_it_was_killed() -> None:
    query = make_query_to_fetch("http://a.example/")
    SimilarityQuery.objects.claim(query.pk, QueryState.TO_FETCH, worker="net@here")
    release_own_claims(SimpleNamespace(hostname="net@there"))
    query.refresh_from_db()
    assert query.state == QueryState.FETCHING
    release_own_claims(SimpleNamespace(hostname="net@here"))
    query.refresh_from_db()
    assert query.state == QueryState.TO_FETCH
    assert [taken.pk for taken in SimilarityQuery.objects.take_undelivered()] == [query.pk]


def test_at_most_two_photos_are_decoded_at_a_time(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
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
