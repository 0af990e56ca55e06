"""The reason why a queued run has not started."""

from datetime import timedelta

import pytest
from django.utils import timezone

from catalog.models import RunState, TrainingRun
from catalog.services.training.status import run_is_silent, run_waiting_reason
from tests.helpers.factories import make_run

pytestmark = [pytest.mark.django_db, pytest.mark.database]


def make_running(name: str, **columns: object) -> TrainingRun:
    return make_run(name=name, state=RunState.RUNNING, started_at=timezone.now(), **columns)


def test_a_training_run_is_named_with_its_epoch() -> None:
    run = make_run()
    make_running("shoes", stage="training", progress={"epoch": 3, "epochs": 16})
    assert run_waiting_reason(run=run) == "Waits for shoes, which is in epoch 3 of 16."


def test_a_run_before_its_first_epoch_is_named_with_its_stage() -> None:
    run, other = make_run(), make_running("shoes", stage="making views", progress={"epoch": 1, "epochs": 16})
    assert run_waiting_reason(run=run) == "Waits for shoes, which is busy with: making views."
    TrainingRun.objects.filter(pk=other.pk).update(stage="", progress={})
    assert run_waiting_reason(run=run) == "Waits for shoes, which is about to begin."


def test_the_first_queued_run_is_next() -> None:
    first, second, third = (make_run(name=name) for name in ("first", "second", "third"))
    for waiting in (second, third):
        assert run_waiting_reason(run=waiting) == "Waits for first, which was started before it."
    assert run_waiting_reason(run=first) == "No train worker has taken it yet."


def test_a_run_that_no_worker_takes_asks_for_a_worker() -> None:
    run = make_run()
    run.created_at = timezone.now() - timedelta(minutes=1)
    assert "Procfile" in run_waiting_reason(run=run)


def test_ended_runs_do_not_wait_and_do_not_block() -> None:
    ended = [make_run(state=state) for state in (RunState.DONE, RunState.FAILED, RunState.CANCELLED)]
    assert run_waiting_reason(run=make_run()) == "No train worker has taken it yet."
    assert {run_waiting_reason(run=run) for run in ended} == {""}


def test_a_run_is_silent_when_its_claim_is_not_extended() -> None:
    now = timezone.now()
    assert not run_is_silent(run=make_running("lively", claimed_at=now))
    assert run_is_silent(run=make_running("lost", claimed_at=now - timedelta(seconds=40)))
    assert not run_is_silent(run=make_run(claimed_at=None))
