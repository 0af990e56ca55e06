"""Sending and waiting, with a Redis of the test's own that comes and goes."""

import signal
import threading
import time
import uuid

import pytest

from catalog import tasks
from tests.helpers.redis_server import OwnRedis


def send() -> float:
    """Send a message; how long that took in seconds."""
    started = time.perf_counter()
    tasks._send(tasks.EMBED_QUERY, uuid.uuid4(), queue="gpu", priority=tasks.URGENT)
    return time.perf_counter() - started


def test_a_message_carries_one_id_to_its_queue(own_redis: OwnRedis) -> None:
    own_redis.start()
    send()
    (message,) = own_redis.client.lrange("gpu", 0, -1)
    assert tasks.EMBED_QUERY.encode() in message
    assert own_redis.client.llen("cpu") == 0


def test_a_person_goes_before_the_catalogue(own_redis: OwnRedis) -> None:
    own_redis.start()
    tasks._send(tasks.EMBED_CATALOG, 7, queue="gpu", priority=tasks.PATIENT)
    send()
    keys = sorted(key.decode() for key in own_redis.client.keys("gpu*"))
    assert keys[0] == "gpu" and keys[1].startswith("gpu") and keys[1].endswith("9")


@pytest.mark.django_db(transaction=True)
def test_only_one_message_about_the_catalogue_of_an_encoder_waits(own_redis: OwnRedis) -> None:
    """Each is followed by another, so two would go round for ever."""
    own_redis.start()

    def waiting() -> int:
        return sum(own_redis.client.llen(key) for key in own_redis.client.keys("gpu*"))

    for _ in range(3):
        tasks.send_embed_catalog(7)
    assert waiting() == 1
    tasks.send_embed_catalog(8)
    assert waiting() == 2
    tasks.embed_catalog_begins(7)
    tasks.send_embed_catalog(7)
    tasks.send_embed_catalog(8)
    assert waiting() == 3
    (key,) = own_redis.client.keys("*:8")
    assert 0 < own_redis.client.ttl(key) <= 10  # one that was lost is sent again


@pytest.mark.django_db(transaction=True)
def test_the_catalogue_is_no_error_while_redis_is_away(own_redis: OwnRedis, caplog: pytest.LogCaptureFixture) -> None:
    tasks.send_embed_catalog(7)
    tasks.embed_catalog_begins(7)
    assert "cannot be asked what waits for encoder 7" in caplog.text
    assert "cannot be told that encoder 7 is at work" in caplog.text


def test_sending_while_redis_is_away_is_quick_and_only_a_warning(
    own_redis: OwnRedis, caplog: pytest.LogCaptureFixture
) -> None:
    assert send() < 2
    assert "The queue cannot be reached" in caplog.text


def test_sending_to_a_redis_that_hangs_is_quick_and_only_a_warning(
    own_redis: OwnRedis, caplog: pytest.LogCaptureFixture
) -> None:
    own_redis.start()
    send()
    assert own_redis.process is not None
    own_redis.process.send_signal(signal.SIGSTOP)
    started = time.perf_counter()
    send()
    tasks.announce_ended(uuid.uuid4())
    tasks.wait_until_ended(uuid.uuid4(), 0.1)
    assert time.perf_counter() - started < 8
    assert "The queue cannot be reached" in caplog.text


def test_sending_works_again_at_the_first_try_after_redis_came_back(
    own_redis: OwnRedis, caplog: pytest.LogCaptureFixture
) -> None:
    own_redis.start()
    send()
    own_redis.kill()
    own_redis.start()
    own_redis.client.delete("gpu")  # the first one, if the disk had it in time
    send()
    assert own_redis.client.llen("gpu") == 1
    assert "cannot be reached" not in caplog.text


def test_a_waiter_is_woken_by_the_end(own_redis: OwnRedis) -> None:
    own_redis.start()
    query_id = uuid.uuid4()
    threading.Timer(0.3, tasks.announce_ended, [query_id]).start()
    started = time.perf_counter()
    tasks.wait_until_ended(query_id, 20)
    assert 0.2 < time.perf_counter() - started < 10


def test_who_comes_late_does_not_wait_and_neither_does_a_second_one(own_redis: OwnRedis) -> None:
    own_redis.start()
    query_id = uuid.uuid4()
    tasks.announce_ended(query_id)
    started = time.perf_counter()
    tasks.wait_until_ended(query_id, 20)
    tasks.wait_until_ended(query_id, 20)
    assert time.perf_counter() - started < 10


def test_a_wait_ends_when_its_time_is_over(own_redis: OwnRedis) -> None:
    own_redis.start()
    started = time.perf_counter()
    tasks.wait_until_ended(uuid.uuid4(), 0.5)
    assert 0.4 < time.perf_counter() - started < 10


def test_a_wait_is_not_cut_short_by_the_patience_of_a_connection(own_redis: OwnRedis) -> None:
    own_redis.start()
    started = time.perf_counter()
    tasks.wait_until_ended(uuid.uuid4(), 6)
    assert time.perf_counter() - started > 5.9


@pytest.mark.parametrize("seconds", [0, -1])
def test_no_time_to_wait_means_no_waiting(own_redis: OwnRedis, seconds: int) -> None:
    own_redis.start()
    started = time.perf_counter()
    tasks.wait_until_ended(uuid.uuid4(), seconds)
    assert time.perf_counter() - started < 1


def test_without_redis_nobody_waits(own_redis: OwnRedis) -> None:
    started = time.perf_counter()
    tasks.wait_until_ended(uuid.uuid4(), 20)
    assert time.perf_counter() - started < 5


def test_the_marks_of_ended_queries_do_not_stay(own_redis: OwnRedis) -> None:
    own_redis.start()
    query_id = uuid.uuid4()
    tasks.announce_ended(query_id)
    assert 0 < int(own_redis.client.ttl(f"ended:{query_id}")) <= 60


def test_the_socket_is_open_to_its_owner_alone(own_redis: OwnRedis) -> None:
    own_redis.start()
    assert own_redis.socket.stat().st_mode & 0o077 == 0
