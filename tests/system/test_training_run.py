"""kill -9 of the training, of its worker and of Redis during a run: it continues and never runs twice."""

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.helpers.garments import write_garments
from tests.helpers.site import Site, wait_until
from worker.processes.child import find_marked, kill_marked

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]

EPOCH_TIMEOUT = 120.0  # seconds in which a training starts and finishes an epoch, also on a busy machine

START = """
from catalog.services.training.runs import run_create
tiny = {"side": 64, "freeze_stages": 12, "epochs": 5, "views": 2, "batch_size": 12, "threads": 1, "embedding_size": 16}
tiny |= {"label_size": 8, "per_label": 2}
for name in ("first", "second"):
    data = {"source": "manifest", "manifest": "manifest.csv"}
    print(run_create(kind="metric", preset="", options=tiny, name=name, **data).pk)
"""
READ_STATE = """
import json; from catalog.models import TrainingRun; from catalog.services.training.runs import run_cancel
second = TrainingRun.objects.get(name="second")
states = {run.name: run.state for run in TrainingRun.objects.all()}
if second.state == "queued": run_cancel(run=second)
first = TrainingRun.objects.get(name="first")
fields = {"epochs": [row["epoch"] for row in first.metrics], "encoder": str(first.encoder), "reason": first.reason}
print(json.dumps(states | fields | {"later": second.state}))
"""


@contextlib.contextmanager
def count_processes(mark: str) -> Iterator[list[int]]:
    """Record how many processes work on the run at a time; their short-lived children are not counted."""
    counts, stopping = [0], threading.Event()

    def watch() -> None:
        while not stopping.wait(0.05):
            found = set(find_marked(mark))
            counts.append(sum(parent_of(pid) not in found for pid in found))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield counts
    finally:
        stopping.set()
        watcher.join()


def parent_of(pid: int) -> int | None:
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).ppid()
    return None


def epochs_in(folder: Path) -> int:
    file = folder / "run" / "metrics.jsonl"
    return file.read_text().count("\n") if file.exists() else 0


def test_a_run_survives_kills_of_its_processes_and_the_next_run_waits(site: Site) -> None:
    write_garments(site.folder / "training-data")
    number, other = site.shell(START).splitlines()
    folder = site.folder / "runs" / number
    mark = str((folder / "lock").resolve())
    with count_processes(mark) as counts:
        wait_until((folder / "run" / "checkpoint.pt").exists, "the first epoch", EPOCH_TIMEOUT)
        assert kill_marked(mark) == 1
        wait_until(lambda: epochs_in(folder) >= 2, "another epoch after the death of the training", EPOCH_TIMEOUT)

        site.kill("train")
        died = time.monotonic()
        wait_until(lambda: not find_marked(mark), "the end of the training without its worker", timeout=2)
        assert time.monotonic() - died < 2
        site.start("train")
        wait_until(
            lambda: epochs_in(folder) >= 3 and find_marked(mark),
            "an epoch after the death",
            EPOCH_TIMEOUT,
        )

        site.kill("redis")
        site.start("redis")
        state = json.loads(site.shell(READ_STATE))
        assert (state["first"], state["second"], state["later"]) == ("running", "queued", "cancelled")
        wait_until((site.folder / "encoders" / "first" / "card.json").exists, "the encoder", EPOCH_TIMEOUT)
        state = wait_until(
            lambda: next((it for it in [json.loads(site.shell(READ_STATE))] if it["first"] != "running"), None), "end"
        )
    assert (state["first"], state["reason"], state["encoder"]) == ("done", "", "first")
    assert state["epochs"] == [1, 2, 3, 4, 5]
    assert max(counts) == 1
    assert not (site.folder / "runs" / other).exists()
    assert {path.name for path in folder.iterdir()} >= {"log.txt", "data.csv", "run"}
