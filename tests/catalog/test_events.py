"""Waiting for the end of a query through a real Redis that is started, stopped and killed by the tests."""

import signal
import threading
import time
import uuid

import pytest

from catalog import events
from tests.helpers.redis_server import RedisServer


def test_a_waiter_is_woken_when_the_query_ends(own_redis: RedisServer) -> None:
    own_redis.start()
    query_id = uuid.uuid4()
    threading.Timer(0.3, events.announce_ended, [query_id]).start()
    started = time.perf_counter()
    events.wait_until_ended(query_id, 20)
    assert 0.2 < time.perf_counter() - started < 10


def test_waiting_for_an_ended_query_returns_at_once_for_every_waiter(own_redis: RedisServer) -> None:
    own_redis.start()
    query_id = uuid.uuid4()
    events.announce_ended(query_id)
    started = time.perf_counter()
    events.wait_until_ended(query_id, 20)
    events.wait_until_ended(query_id, 20)
    assert time.perf_counter() - started < 10


def test_a_wait_ends_after_its_seconds(own_redis: RedisServer) -> None:
    own_redis.start()
    started = time.perf_counter()
    events.wait_until_ended(uuid.uuid4(), 0.5)
    assert 0.4 < time.perf_counter() - started < 10


def test_a_wait_may_be_longer_than_the_socket_timeout(own_redis: RedisServer) -> None:
    own_redis.start()
    started = time.perf_counter()
    events.wait_until_ended(uuid.uuid4(), 6)
    assert time.perf_counter() - started > 5.9


@pytest.mark.parametrize("seconds", [0, -1])
def test_waiting_for_no_time_returns_at_once(own_redis: RedisServer, seconds: int) -> None:
    own_redis.start()
    started = time.perf_counter()
    events.wait_until_ended(uuid.uuid4(), seconds)
    assert time.perf_counter() - started < 1


def test_without_redis_a_wait_ends_early(own_redis: RedisServer) -> None:
    started = time.perf_counter()
    events.wait_until_ended(uuid.uuid4(), 20)
    assert time.perf_counter() - started < 5


def test_the_keys_of_ended_queries_expire(own_redis: RedisServer) -> None:
    own_redis.start()
    query_id = uuid.uuid4()
    events.announce_ended(query_id)
    assert 0 < int(own_redis.client.ttl(f"ended:{query_id}")) <= 60


def test_a_redis_that_hangs_delays_announcing_and_waiting_by_seconds_only(own_redis: RedisServer) -> None:
    own_redis.start()
    events.announce_ended(uuid.uuid4())
    assert own_redis.process is not None
    own_redis.process.send_signal(signal.SIGSTOP)
    started = time.perf_counter()
    events.announce_ended(uuid.uuid4())
    events.wait_until_ended(uuid.uuid4(), 0.1)
    assert time.perf_counter() - started < 5
