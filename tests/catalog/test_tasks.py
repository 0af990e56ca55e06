"""Sending tasks through a real Redis that is started, stopped and killed by the tests."""

import signal
import time
import uuid

import pytest

from catalog import tasks
from tests.helpers.redis_server import RedisServer


def send() -> float:
    """Send a message and return the seconds that it took."""
    started = time.perf_counter()
    tasks._send(tasks.EMBED_QUERY, uuid.uuid4(), queue="gpu", priority=tasks.INTERACTIVE)
    return time.perf_counter() - started


def test_a_message_carries_one_id_to_its_queue(own_redis: RedisServer) -> None:
    own_redis.start()
    send()
    (message,) = own_redis.client.lrange("gpu", 0, -1)
    assert tasks.EMBED_QUERY.encode() in message
    assert own_redis.client.llen("cpu") == 0


def test_queries_are_sent_before_catalogue_photos(own_redis: RedisServer) -> None:
    own_redis.start()
    tasks._send(tasks.EMBED_CATALOG, 7, queue="gpu", priority=tasks.BACKGROUND)
    send()
    keys = sorted(key.decode() for key in own_redis.client.keys("gpu*"))
    assert keys[0] == "gpu" and keys[1].startswith("gpu") and keys[1].endswith("9")


@pytest.mark.django_db(transaction=True)
def test_at_most_one_embed_catalog_message_per_encoder_waits(own_redis: RedisServer) -> None:
    """Each task sends the next one, so two messages would circulate for ever."""
    own_redis.start()

    def waiting() -> int:
        return sum(own_redis.client.llen(key) for key in own_redis.client.keys("gpu*"))

    for _ in range(3):
        tasks.send_embed_catalog(7)
    assert waiting() == 1
    tasks.send_embed_catalog(8)
    assert waiting() == 2
    tasks.embed_catalog_started(7)
    tasks.send_embed_catalog(7)
    tasks.send_embed_catalog(8)
    assert waiting() == 3
    (key,) = own_redis.client.keys("*:8")
    assert 0 < own_redis.client.ttl(key) <= 10  # a lost message is sent again


@pytest.mark.django_db(transaction=True)
def test_embed_catalog_without_redis_is_only_a_warning(
    own_redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    tasks.send_embed_catalog(7)
    tasks.embed_catalog_started(7)
    assert caplog.text.count("embed-catalog message of encoder 7") == 2


def test_sending_without_redis_is_quick_and_only_a_warning(
    own_redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    assert send() < 2
    assert "The queue cannot be reached" in caplog.text


def test_sending_to_a_redis_that_hangs_is_quick_and_only_a_warning(
    own_redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    own_redis.start()
    send()
    assert own_redis.process is not None
    own_redis.process.send_signal(signal.SIGSTOP)
    assert send() < 5
    assert "The queue cannot be reached" in caplog.text


def test_the_first_message_after_redis_returned_is_sent(
    own_redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    own_redis.start()
    send()
    own_redis.kill()
    own_redis.start()
    own_redis.client.delete("gpu")  # the first one, if the disk had it in time
    send()
    assert own_redis.client.llen("gpu") == 1
    assert "cannot be reached" not in caplog.text


def test_only_the_owner_may_open_the_socket(own_redis: RedisServer) -> None:
    own_redis.start()
    assert own_redis.socket.stat().st_mode & 0o077 == 0
