"""Startup of a worker: warm-up of its threads."""

import threading
import time
from functools import partial

import pytest
from celery.concurrency.thread import TaskPool
from django.conf import settings
from django.core.management import call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext

from catalog.models import SimilarityQuery
from catalog.warmup import run_and_roll_back
from worker import startup
from worker.startup import _embed_and_search, warm_up_pool

pytestmark = pytest.mark.django_db


@pytest.fixture
def live() -> None:
    shipped = settings.BASE_DIR / "ml" / "encoders" / settings.DEFAULT_ENCODER
    call_command("register_encoder", shipped, live=True, verbosity=0)


def rehearsal_statements(queues: set[str]) -> str:
    """The writing SQL statements of a rehearsal, which is rolled back."""
    with CaptureQueriesContext(connection) as statements:
        run_and_roll_back(partial(_embed_and_search, queues))
    return "\n".join(one["sql"] for one in statements if one["sql"].startswith(("UPDATE", "INSERT")))


@pytest.mark.parametrize(
    ("queues", "reached"), [({"gpu"}, {"embedded"}), ({"cpu"}, {"done"}), ({"gpu", "cpu", "net"}, {"embedded", "done"})]
)
@pytest.mark.usefixtures("live")
def test_the_rehearsal_runs_the_tasks_of_the_queues(
    queues: set[str], reached: set[str], caplog: pytest.LogCaptureFixture
) -> None:
    updates = [line for line in rehearsal_statements(queues).splitlines() if line.startswith("UPDATE")]
    assert {state for state in ("embedded", "done") if any(f"'{state}'" in line for line in updates)} >= reached
    assert not SimilarityQuery.objects.exists()
    assert "warm-up" not in caplog.text


def test_without_an_encoder_nothing_is_rehearsed(caplog: pytest.LogCaptureFixture) -> None:
    assert "catalog_similarityquery" not in rehearsal_statements({"gpu", "cpu"})
    assert "warm-up" not in caplog.text


def test_every_thread_of_the_pool_is_warmed_up(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[int] = []
    monkeypatch.setattr(startup, "run_and_roll_back", lambda work: threads.append(threading.get_ident()))
    pool = TaskPool(limit=3)
    pool.start()
    warm_up_pool(pool, set())
    pool.stop()
    assert len(set(threads)) == 3


def test_a_hanging_rehearsal_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()
    monkeypatch.setattr(startup, "TIMEOUT", 0.2)
    monkeypatch.setattr(startup, "run_and_roll_back", lambda work: over.wait(30))
    pool = TaskPool(limit=2)
    pool.start()
    started = time.monotonic()
    warm_up_pool(pool, set())
    assert time.monotonic() - started < 10
    over.set()
    pool.stop()
