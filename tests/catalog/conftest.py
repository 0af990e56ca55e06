"""A Redis for the tests that need one: that counts, or that carries messages."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pytest_django import Settings

from catalog import queue, rates
from clothes_matcher import app
from tests.own_redis import OwnRedis


@pytest.fixture
def counting(tmp_path: Path, settings: Settings) -> Iterator[OwnRedis]:
    """Requests are counted, with the rates of the settings; in other tests Redis is away, and nothing is."""
    own = OwnRedis(tmp_path)
    settings.REDIS_URL = f"unix://{own.socket}?db=0"
    rates._counter.cache_clear()
    own.start()
    yield own
    own.kill()
    rates._counter.cache_clear()


@pytest.fixture
def own_redis(tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[OwnRedis]:
    """A Redis that this process's queue uses; not started yet."""
    own = OwnRedis(tmp_path)
    settings.REDIS_URL = f"unix://{own.socket}?db=0"
    monkeypatch.setattr(app.conf, "broker_url", f"redis+socket://{own.socket}?virtual_host=0")
    queue._redis.cache_clear()
    queue._sender.cache_clear()
    yield own
    own.kill()
    queue._redis.cache_clear()
    queue._sender.cache_clear()
