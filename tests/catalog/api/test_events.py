"""Server-sent events of a query, with and without Redis."""

import threading
import time

import pytest
from pytest_django import DjangoAssertNumQueries
from rest_framework.test import APIClient

from catalog import events
from catalog.api.views import events as view
from catalog.models import QueryState, SimilarityQuery, User
from tests.helpers.api import answered_query, assert_refused
from tests.helpers.factories import make_query, make_upload, make_user
from tests.helpers.redis_server import RedisServer
from tests.helpers.sse import events_url, parse_events

pytestmark = pytest.mark.django_db


@pytest.fixture
def short_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    """Streams last one second, with a heartbeat every 0.2 seconds."""
    monkeypatch.setattr(view, "STREAM_SECONDS", 1.0)
    monkeypatch.setattr(view, "HEARTBEAT", 0.2)


def test_an_ended_query_is_sent_at_once(device: APIClient, me: User) -> None:
    query = answered_query(me)
    answer = device.get(events_url(query), HTTP_ACCEPT="text/event-stream")
    assert answer.status_code == 200
    assert answer["Content-Type"] == "text/event-stream"
    assert answer["Cache-Control"] == "no-store"
    sent = list(parse_events(answer.streaming_content))
    assert [name for name, _ in sent] == ["retry", "done"]
    assert sent[1][1] == device.get(f"/api/v1/queries/{query.pk}/").json()


def test_a_failed_query_is_sent_with_its_error(device: APIClient, me: User) -> None:
    query = make_query(make_upload(me), state=QueryState.FAILED, error_code="no_encoder", error_detail="Not ready.")
    sent = dict(parse_events(device.get(events_url(query)).streaming_content))
    assert sent["done"]["error"]["code"] == "no_encoder"


def test_a_waiting_query_is_sent_with_its_queue_position(device: APIClient, me: User, short_stream: None) -> None:
    ahead, query = make_query(), make_query(make_upload(me))
    make_query()
    stream = parse_events(device.get(events_url(query)).streaming_content)
    assert next(stream) == ("retry", view.RETRY_MS)
    assert next(stream) == ("state", {"state": "queued", "position": 2})
    ahead.delete()
    assert next(event for event in stream if event[0] == "state") == ("state", {"state": "queued", "position": 1})


def test_a_stream_sends_heartbeats_and_ends_after_its_lifetime(device: APIClient, me: User, short_stream: None) -> None:
    started = time.monotonic()
    names = [name for name, _ in parse_events(device.get(events_url(make_query(make_upload(me)))).streaming_content)]
    assert 0.9 < time.monotonic() - started < 10
    assert names[:2] == ["retry", "state"]
    assert set(names[2:]) == {"comment"}


@pytest.mark.database
def test_each_state_change_is_sent_as_it_happens(own_redis: RedisServer, device: APIClient, me: User) -> None:
    own_redis.start()
    query = make_query(make_upload(me))
    stream = parse_events(device.get(events_url(query)).streaming_content)
    assert [next(stream)[0], next(stream)] == ["retry", ("state", {"state": "queued", "position": 1})]
    for state, announce in (
        (QueryState.EMBEDDING, events.announce_change),
        (QueryState.SEARCHING, events.announce_change),
        (QueryState.DONE, events.announce_ended),
    ):
        SimilarityQuery.objects.filter(pk=query.pk).update(state=state)
        started = time.monotonic()
        threading.Timer(0.1, announce, [query.pk]).start()
        name, data = next(event for event in stream if event[0] != "comment")
        assert time.monotonic() - started < view.HEARTBEAT
        assert data["state"] == state
    assert name == "done"
    assert list(stream) == []


def test_without_redis_the_row_is_polled_every_second(own_redis: RedisServer, device: APIClient, me: User) -> None:
    query = make_query(make_upload(me))
    stream = parse_events(device.get(events_url(query)).streaming_content)
    assert [next(stream)[0], next(stream)[0]] == ["retry", "state"]
    SimilarityQuery.objects.filter(pk=query.pk).update(state=QueryState.DONE)
    started = time.monotonic()
    assert next(event for event in stream if event[0] != "comment")[0] == "done"
    assert time.monotonic() - started < 4


@pytest.mark.database
def test_a_query_deleted_during_the_stream_sends_gone(device: APIClient, me: User, short_stream: None) -> None:
    query = make_query(make_upload(me))
    stream = parse_events(device.get(events_url(query)).streaming_content)
    assert [next(stream)[0], next(stream)[0]] == ["retry", "state"]
    query.delete()
    assert [event for event in stream if event[0] != "comment"] == [("gone", {})]


def test_above_the_stream_limit_the_state_is_sent_once(
    device: APIClient, me: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(view, "_slots", threading.BoundedSemaphore(1))
    query = make_query(make_upload(me))
    open_stream = parse_events(device.get(events_url(query)).streaming_content)
    assert [next(open_stream)[0], next(open_stream)[0]] == ["retry", "state"]
    assert [name for name, _ in parse_events(device.get(events_url(query)).streaming_content)] == ["retry", "state"]


def test_a_disconnected_client_frees_its_slot(device: APIClient, me: User, monkeypatch: pytest.MonkeyPatch) -> None:
    slots = threading.BoundedSemaphore(1)
    monkeypatch.setattr(view, "_slots", slots)
    answer = device.get(events_url(make_query(make_upload(me))))
    stream = iter(answer.streaming_content)
    assert [len(next(stream)) > 0 for _ in range(2)] == [True, True]
    assert not slots.acquire(blocking=False)
    answer.close()
    assert slots.acquire(blocking=False)


@pytest.mark.parametrize("method", ["head", "post", "put", "patch", "delete"])
def test_a_stream_accepts_only_get(device: APIClient, me: User, method: str) -> None:
    assert getattr(device, method)(events_url(make_query(make_upload(me)))).status_code == 405


def test_the_query_of_another_user_cannot_be_followed(device: APIClient) -> None:
    query = make_query(make_upload(make_user()))
    assert_refused(device.get(events_url(query), HTTP_ACCEPT="text/event-stream"), 404, "not_found")
    assert APIClient().get(events_url(query)).status_code == 401


@pytest.mark.parametrize("items", [1, 9])
def test_a_stream_takes_a_fixed_number_of_sql_queries(
    device: APIClient, me: User, items: int, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    query = answered_query(me, items=items)
    # the token, the ownership, the state; the query, its other photos, its recommendations, their items' photos
    with django_assert_num_queries(7):
        list(device.get(events_url(query)).streaming_content)
