from collections.abc import Callable, Iterator

import pytest
from django.db import connection
from pytest_django import Settings
from qdrant_client import QdrantClient

from catalog.models import Backend
from ml.search.qdrant import payload
from worker.index import backends, refresh


@pytest.fixture(params=[Backend.PGVECTOR, Backend.QDRANT])
def backend(request: pytest.FixtureRequest, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Backend]:
    """A backend with shared indexes: the real PostgreSQL if the tests run on one, and Qdrant inside this process."""
    if request.param == Backend.PGVECTOR and connection.vendor != "postgresql":
        pytest.skip("pgvector is tested when the tests run on PostgreSQL")
    client = QdrantClient(":memory:")
    close = client.close
    monkeypatch.setattr(client, "close", lambda: None)  # a server outlives its clients
    settings.QDRANT_URL = "http://qdrant.example"
    monkeypatch.setattr(payload, "create_client", lambda *_: client)
    monkeypatch.setattr(backends, "PROPAGATION_SECONDS", 0.0)
    yield request.param
    backends.close_removed([])
    close()


@pytest.fixture
def run_threads() -> Callable[[], None]:
    """Runs what the threads of a worker do once a second."""

    def run_once() -> None:
        refresh.sync_shared("cpu@here")
        refresh.refresh_all()

    return run_once
