"""Fixtures and pytest hooks of all tests. Tests write only to temporary folders, see tests/settings.py."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pytest_django import Settings

from catalog.outbound import fetch
from tests.helpers import hypothesis_profiles, suite
from tests.helpers.servers import Script, Server
from tests.helpers.worker_crash import pytest_handlecrashitem

__all__ = ["pytest_handlecrashitem"]  # a hook

hypothesis_profiles.register()


class CollectionOrder:
    """Start with slow tests, so that no test process is idle at the end; tests with a database keep Django's order."""

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items.sort(key=lambda item: not item.get_closest_marker("slow") or bool(item.get_closest_marker("django_db")))


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(CollectionOrder())


@pytest.hookimpl(tryfirst=True)  # before pytest selects by marker
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    suite.mark_slow(items)


@pytest.fixture(autouse=True)
def media(tmp_path: Path, settings: Settings) -> Path:
    """Give each test its own media folder."""
    settings.MEDIA_ROOT = tmp_path / "media"
    return tmp_path / "media"


@pytest.fixture
def serve(settings: Settings) -> Iterator[Callable[..., Server]]:
    """Start servers on 127.0.0.1; only `localhost:port` of each is on the fetch allowlist."""
    servers: list[Server] = []

    def start(script: bytes | Script, **options: Any) -> Server:
        servers.append(Server(script, **options))
        settings.FETCH_PRIVATE_HOSTS = [f"localhost:{server.port}" for server in servers]
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def short_fetch_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut the download timeout from ten seconds to one."""
    monkeypatch.setattr(fetch, "SECONDS", 1.0)


def pytest_sessionfinish() -> None:
    shutil.rmtree(os.environ["VAR_DIR"], ignore_errors=True)
