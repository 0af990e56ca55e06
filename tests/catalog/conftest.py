"""A Redis that counts, for the tests that need one."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pytest_django import Settings

from catalog import rates
from tests.catalog.test_queue import OwnRedis


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
