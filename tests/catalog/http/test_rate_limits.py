"""Rate limits with a real Redis."""

import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from pytest_django import Settings
from redis.connection import AbstractConnection

from catalog.http import rate_limits
from catalog.http.rate_limits import Quota, count_request, rate_limit
from tests.helpers.redis_server import RedisServer


@pytest.fixture(autouse=True)
def ten_a_minute(settings: Settings) -> None:
    settings.RATES = {"query": "10/min", "short": "2/s", "read": "5/hour"}


def retry_after(*, scope: str, client: str, cost: int = 1) -> int | None:
    return count_request(scope=scope, client=client, cost=cost).retry_after


@pytest.mark.parametrize(
    ("rate", "expected"), [("20/min", (20, 60)), ("1/s", (1, 1)), ("5/hour", (5, 3600)), ("7/day", (7, 86400))]
)
def test_a_rate_of_the_settings_is_parsed(settings: Settings, rate: str, expected: tuple[int, int]) -> None:
    settings.RATES = {"query": rate}
    assert rate_limit("query") == expected


def test_concurrent_requests_never_exceed_the_limit(rate_limit_redis: RedisServer) -> None:
    with ThreadPoolExecutor(16) as threads:
        waits = list(threads.map(lambda _: retry_after(scope="query", client="user:1"), range(100)))
    assert Counter(wait is None for wait in waits) == {True: 10, False: 90}
    assert {wait for wait in waits if wait is not None} <= {59, 60}


def test_processes_share_one_counter(rate_limit_redis: RedisServer) -> None:
    code = (
        "import os; os.environ['DJANGO_SETTINGS_MODULE'] = 'tests.settings'; import django; django.setup();"
        "from django.conf import settings;"
        f"settings.REDIS_URL = 'unix://{rate_limit_redis.socket}?db=0'; settings.RATES = {{'query': '10/min'}};"
        "from catalog.http.rate_limits import count_request;"
        "print(sum(count_request(scope='query', client='user:1').is_allowed for _ in range(9)))"
    )
    command = [sys.executable, "-c", code]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert sum(int(process.communicate()[0]) for process in processes) == 10


def test_users_and_scopes_are_counted_separately(rate_limit_redis: RedisServer) -> None:
    for _ in range(10):
        assert retry_after(scope="query", client="user:1") is None
    assert retry_after(scope="query", client="user:1") is not None
    assert retry_after(scope="query", client="user:2") is None
    assert retry_after(scope="read", client="user:1") is None


def test_counting_takes_one_round_trip(rate_limit_redis: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    messages: list[bytes] = []
    send = AbstractConnection.send_packed_command

    def note(connection: AbstractConnection, command: Any, *more: Any, **options: Any) -> Any:
        messages.append(b"".join(command))
        return send(connection, command, *more, **options)

    assert count_request(scope="query", client="user:1").remaining == 9
    monkeypatch.setattr(AbstractConnection, "send_packed_command", note)
    assert count_request(scope="query", client="user:1", cost=3).remaining == 6
    assert count_request(scope="query", client="user:1", cost=7) == Quota(
        "query", is_allowed=False, remaining=6, reset_seconds=60
    )
    assert len(messages) == 2


def test_the_window_moves(rate_limit_redis: RedisServer) -> None:
    assert [retry_after(scope="short", client="user:1") for _ in range(3)] == [None, None, 1]
    time.sleep(1.1)
    assert retry_after(scope="short", client="user:1") is None


def test_a_batch_counts_its_cost_and_a_refused_one_counts_nothing(rate_limit_redis: RedisServer) -> None:
    assert retry_after(scope="query", client="user:1", cost=7) is None
    assert retry_after(scope="query", client="user:1", cost=4) is not None
    assert retry_after(scope="query", client="user:1", cost=3) is None
    assert retry_after(scope="query", client="user:1") is not None


def test_a_cost_above_the_limit_is_capped_at_the_limit(rate_limit_redis: RedisServer) -> None:
    assert retry_after(scope="query", client="user:1", cost=50) is None
    assert retry_after(scope="query", client="user:1") is not None


def test_without_redis_every_request_is_allowed_and_only_the_first_waits(
    rate_limit_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    rate_limit_redis.client.config_set("appendfsync", "no")  # a write that waits for an fsync would be lost by the kill
    assert retry_after(scope="query", client="user:1", cost=10) is None
    rate_limit_redis.kill()
    assert [retry_after(scope="query", client="user:1") for _ in range(20)] == [None] * 20
    rate_limit_redis.start()  # it has kept its data
    monkeypatch.setattr(rate_limits._redis_counter(), "paused_until", 0.0)
    assert retry_after(scope="query", client="user:1") is not None


def test_a_hanging_redis_delays_only_one_request(
    rate_limit_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert rate_limit_redis.process is not None
    subprocess.run(["kill", "-STOP", str(rate_limit_redis.process.pid)], check=True)
    started = time.perf_counter()
    assert [retry_after(scope="query", client="user:1") for _ in range(20)] == [None] * 20
    assert time.perf_counter() - started < 4


def test_a_scope_without_a_rate_raises() -> None:
    with pytest.raises(KeyError):
        retry_after(scope="nonsense", client="user:1")
