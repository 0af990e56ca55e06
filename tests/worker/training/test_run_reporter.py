"""Reporting of a run to its row and its log, also without the database and after the claim was lost."""

from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError
from pytest_django import Settings

from catalog.errors import ClaimLost
from catalog.models import RunKind, TrainingRun
from catalog.run_folder import run_folder
from worker.training import progress
from worker.training.progress import Cancelled, RunReporter, retry_until_written

pytestmark = pytest.mark.django_db

STEP = {"event": "step", "epoch": 1, "epochs": 2, "step": 1, "steps": 4, "loss": 1.5, "seconds_left": 9.0}


@pytest.fixture
def run(settings: Settings, tmp_path: Path) -> TrainingRun:
    settings.RUNS_DIR = tmp_path
    row = TrainingRun.objects.create(name="tiny", kind=RunKind.METRIC)
    claimed = TrainingRun.objects.claim(row.pk, worker="train@here")
    assert claimed is not None
    (run_folder(claimed) / "run").mkdir(parents=True)
    return claimed


def reload(run: TrainingRun) -> TrainingRun:
    return TrainingRun.objects.get(pk=run.pk)


def test_changes_are_written_once_a_second_at_most(run: TrainingRun) -> None:
    reporter = RunReporter(run)
    reporter.stage("collecting photos", 1, 5)
    reporter.send()
    reporter.take(STEP)
    reporter.send()
    assert reload(run).stage == "collecting photos"
    assert reload(run).progress == {"share": 0.0, "trace": [], "done": 1, "of": 5}
    reporter.send(at_once=True)
    assert reload(run).progress["trace"] == [{"at": 0.25, "loss": 1.5}]


def test_the_claim_is_renewed_without_changes(run: TrainingRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "RENEW_SECONDS", 0.0)
    reporter, before = RunReporter(run), reload(run).claimed_at
    reporter.send()
    after = reload(run).claimed_at
    assert before is not None and after is not None and after > before


def test_a_finished_epoch_is_read_without_an_incomplete_last_line(run: TrainingRun) -> None:
    metrics = run_folder(run) / "run" / "metrics.jsonl"
    metrics.write_text('{"epoch": 1, "val_loss": null}\n{"epoch": 2, "val_l')
    reporter = RunReporter(run)
    reporter.take({"event": "epoch", "epoch": 1, "val_loss": None, "train_loss": 0.25})
    reporter.send()
    assert reload(run).metrics == [{"epoch": 1, "val_loss": None}]
    assert reload(run).log_tail.endswith(" epoch 1, train_loss 0.25\n")


def test_changes_are_kept_while_the_database_is_unreachable(run: TrainingRun, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_: Any) -> bool:
        raise OperationalError("the database system is shutting down")

    reporter = RunReporter(run)
    reporter.take({"event": "stage", "what": "training"})
    with monkeypatch.context() as patched:
        patched.setattr(run, "record_progress", fail)
        reporter.send()
    assert reload(run).stage == ""
    reporter.send(at_once=True)
    assert reload(run).stage == "training"


def test_the_end_is_written_as_soon_as_the_database_is_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "RENEW_SECONDS", 0.0)
    answers = iter([OperationalError("gone"), OperationalError("still gone"), None])

    def write() -> None:
        if error := next(answers):
            raise error

    retry_until_written(write, lambda: False)
    assert list(answers) == []


def test_a_stopping_worker_does_not_wait_for_the_database() -> None:
    def write() -> None:
        raise OperationalError("gone")

    with pytest.raises(OperationalError):
        retry_until_written(write, lambda: True)


def test_a_lost_claim_is_raised(run: TrainingRun) -> None:
    reporter = RunReporter(run)
    TrainingRun.objects.release_claims()
    with pytest.raises(ClaimLost):
        reporter.send()


def test_a_cancel_request_is_raised(run: TrainingRun) -> None:
    TrainingRun.objects.update(cancel_requested=True)
    with pytest.raises(Cancelled):
        RunReporter(run).send()


def test_a_run_that_starts_over_discards_its_epochs(run: TrainingRun) -> None:
    run.record_progress(metrics=[{"epoch": 1}], progress={"share": 0.5, "trace": [{"at": 0.5, "loss": 1.0}]})
    reporter = RunReporter(run)
    reporter.start_over()
    reporter.stage("starting the training")
    reporter.send()
    assert reload(run).metrics == []
    assert reload(run).progress["trace"] == []
