"""Counting requests, with a real Redis."""

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
from catalog.http.rate_limits import Count, count, rate_of, spend
from tests.helpers.redis_server import OwnRedis


@pytest.fixture(autouse=True)
def ten_a_minute(settings: Settings) -> None:
    settings.RATES = {"query": "10/min", "short": "2/s", "read": "5/hour"}


@pytest.mark.parametrize(
    ("written", "meant"), [("20/min", (20, 60)), ("1/s", (1, 1)), ("5/hour", (5, 3600)), ("7/day", (7, 86400))]
)
def test_a_rate_is_read_as_the_settings_write_it(settings: Settings, written: str, meant: tuple[int, int]) -> None:
    settings.RATES = {"query": written}
    assert rate_of("query") == meant


def test_of_many_requests_at_the_same_moment_exactly_as_many_pass_as_may(counting: OwnRedis) -> None:
    with ThreadPoolExecutor(16) as threads:
        waits = list(threads.map(lambda _: spend(scope="query", who="somebody"), range(100)))
    assert Counter(wait is None for wait in waits) == {True: 10, False: 90}
    assert {wait for wait in waits if wait is not None} <= {59, 60}


def test_processes_share_one_count(counting: OwnRedis) -> None:
    code = (
        "import os; os.environ['DJANGO_SETTINGS_MODULE'] = 'tests.settings'; import django; django.setup();"
        "from django.conf import settings;"
        f"settings.REDIS_URL = 'unix://{counting.socket}?db=0'; settings.RATES = {{'query': '10/min'}};"
        "from catalog.http.rate_limits import spend;"
        "print(sum(spend(scope='query', who='somebody') is None for _ in range(9)))"
    )
    command = [sys.executable, "-c", code]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert sum(int(process.communicate()[0]) for process in processes) == 10


def test_people_and_scopes_are_counted_apart(counting: OwnRedis) -> None:
    for _ in range(10):
        assert spend(scope="query", who="somebody") is None
    assert spend(scope="query", who="somebody") is not None
    assert spend(scope="query", who="somebody else") is None
    assert spend(scope="read", who="somebody") is None


def test_counting_and_looking_at_what_is_left_are_one_message(
    counting: OwnRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    messages: list[bytes] = []
    send = AbstractConnection.send_packed_command

    def note(connection: AbstractConnection, command: Any, *more: Any, **options: Any) -> Any:
        messages.append(b"".join(command))
        return send(connection, command, *more, **options)

    assert count(scope="query", who="somebody").left == 9
    monkeypatch.setattr(AbstractConnection, "send_packed_command", note)
    assert count(scope="query", who="somebody", cost=3).left == 6
    assert count(scope="query", who="somebody", cost=7) == Count("query", passes=False, left=6, seconds=60)
    assert len(messages) == 2


def test_the_window_moves(counting: OwnRedis) -> None:
    assert [spend(scope="short", who="somebody") for _ in range(3)] == [None, None, 1]
    time.sleep(1.1)
    assert spend(scope="short", who="somebody") is None


def test_a_batch_weighs_what_it_holds_and_one_that_is_refused_weighs_nothing(counting: OwnRedis) -> None:
    assert spend(scope="query", who="somebody", cost=7) is None
    assert spend(scope="query", who="somebody", cost=4) is not None
    assert spend(scope="query", who="somebody", cost=3) is None
    assert spend(scope="query", who="somebody") is not None


def test_a_batch_larger_than_the_rate_passes_when_nothing_else_was_asked_for(counting: OwnRedis) -> None:
    assert spend(scope="query", who="somebody", cost=50) is None
    assert spend(scope="query", who="somebody") is not None


def test_without_redis_everything_passes_and_only_the_first_request_waits_for_it(
    counting: OwnRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert spend(scope="query", who="somebody", cost=10) is None
    counting.kill()
    assert [spend(scope="query", who="somebody") for _ in range(20)] == [None] * 20
    counting.start()  # it has kept what it knew
    monkeypatch.setattr(rate_limits._counter(), "paused_until", 0.0)
    assert spend(scope="query", who="somebody") is not None


def test_a_redis_that_hangs_slows_one_request_down_and_not_all(
    counting: OwnRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert counting.process is not None
    subprocess.run(["kill", "-STOP", str(counting.process.pid)], check=True)
    started = time.perf_counter()
    assert [spend(scope="query", who="somebody") for _ in range(20)] == [None] * 20
    assert time.perf_counter() - started < 4


def test_a_scope_without_a_rate_is_a_mistake_of_ours_and_told_at_once() -> None:
    with pytest.raises(KeyError):
        spend(scope="nonsense", who="somebody")
