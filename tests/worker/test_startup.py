"""What a worker does before its first query."""

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


def written(queues: set[str]) -> str:
    """What a rehearsal wrote, before it took it back."""
    with CaptureQueriesContext(connection) as statements:
        run_and_roll_back(partial(_embed_and_search, queues))
    return "\n".join(one["sql"] for one in statements if one["sql"].startswith(("UPDATE", "INSERT")))


@pytest.mark.parametrize(
    ("queues", "reached"), [({"gpu"}, {"embedded"}), ({"cpu"}, {"done"}), ({"gpu", "cpu", "net"}, {"embedded", "done"})]
)
@pytest.mark.usefixtures("live")
def test_the_rehearsal_goes_as_far_as_a_query_does(
    queues: set[str], reached: set[str], caplog: pytest.LogCaptureFixture
) -> None:
    updates = [line for line in written(queues).splitlines() if line.startswith("UPDATE")]
    assert {state for state in ("embedded", "done") if any(f"'{state}'" in line for line in updates)} >= reached
    assert not SimilarityQuery.objects.exists()
    assert "warm-up" not in caplog.text


def test_there_is_nothing_to_rehearse_without_an_encoder(caplog: pytest.LogCaptureFixture) -> None:
    assert "catalog_similarityquery" not in written({"gpu", "cpu"})
    assert "warm-up" not in caplog.text


def test_every_thread_of_the_pool_has_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[int] = []
    monkeypatch.setattr(startup, "run_and_roll_back", lambda work: threads.append(threading.get_ident()))
    pool = TaskPool(limit=3)
    pool.start()
    warm_up_pool(pool, set())
    pool.stop()
    assert len(set(threads)) == 3


def test_what_hangs_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
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
