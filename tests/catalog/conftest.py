"""Fixtures of the catalogue tests: a user with a signed-in device, and a Redis for rate limits or for the queue."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pytest_django import Settings
from rest_framework.test import APIClient

from catalog import redis_client, tasks
from catalog.http import rate_limits
from catalog.models import User
from clothes_matcher import app
from tests.helpers.api import signed_in_client
from tests.helpers.factories import make_user
from tests.helpers.redis_server import RedisServer


@pytest.fixture
def me(db: None) -> User:
    return make_user("me")


@pytest.fixture
def device(me: User) -> APIClient:
    """A client that is signed in by token, like the app."""
    return signed_in_client(me)


@pytest.fixture
def rate_limit_redis(tmp_path: Path, settings: Settings) -> Iterator[RedisServer]:
    """A running Redis that counts requests; in other tests Redis is unavailable and rate limits are off."""
    own = RedisServer(tmp_path)
    settings.REDIS_URL = f"unix://{own.socket}?db=0"
    rate_limits._redis_counter.cache_clear()
    own.start()
    yield own
    own.kill()
    rate_limits._redis_counter.cache_clear()


@pytest.fixture
def own_redis(tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[RedisServer]:
    """A Redis that this process's queue uses; not started yet."""
    own = RedisServer(tmp_path)
    settings.REDIS_URL = f"unix://{own.socket}?db=0"
    monkeypatch.setattr(app.conf, "broker_url", f"redis+socket://{own.socket}?virtual_host=0")
    redis_client.redis_client.cache_clear()
    tasks._send_connection.cache_clear()
    yield own
    own.kill()
    redis_client.redis_client.cache_clear()
    tasks._send_connection.cache_clear()
