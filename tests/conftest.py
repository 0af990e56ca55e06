"""Fixtures for all tests. Tests write only to temporary folders, see tests/settings.py."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pytest_django import Settings

from catalog.outbound import fetch
from tests.helpers.servers import Script, Server


@pytest.fixture(autouse=True)
def media(tmp_path: Path, settings: Settings) -> Path:
    """Give each test its own media folder."""
    settings.MEDIA_ROOT = tmp_path / "media"
    return tmp_path / "media"


@pytest.fixture
def serve(settings: Settings) -> Iterator[Callable[..., Server]]:
    """Start servers on 127.0.0.1; only `localhost:port` of each is on the fetch allowlist."""
    servers: list[Server] = []

    def start(does: bytes | Script, **options: Any) -> Server:
        servers.append(Server(does, **options))
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
