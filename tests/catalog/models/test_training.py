"""The states of training runs and evaluations: claims, transitions, and recovery after crashes."""

from typing import Any

import pytest

from catalog.errors import ClaimLost, IllegalTransition
from catalog.models import Evaluation, EvaluationSet, EvaluationState, RunState, TrainingRun
from catalog.models.training import LOG_TAIL, MAX_ATTEMPTS
from tests.helpers.factories import make_encoder, make_run

pytestmark = [pytest.mark.django_db, pytest.mark.database]


def claimed(worker: str = "train@one", **columns: Any) -> TrainingRun:
    run = TrainingRun.objects.claim(make_run(**columns).pk, worker=worker)
    assert run is not None
    return run


def read(run: TrainingRun) -> TrainingRun:
    return TrainingRun.objects.get(pk=run.pk)


def test_one_of_two_workers_with_the_same_message_gets_the_claim() -> None:
    run = claimed()
    assert TrainingRun.objects.claim(run.pk, worker="train@two") is None
    assert (run.state, run.claimed_by) == (RunState.RUNNING, "train@one")
    assert run.started_at is not None


def test_a_requeued_run_keeps_its_start_time() -> None:
    run = claimed()
    started_at = run.started_at
    run.requeue("It was killed (SIGKILL).")
    again = TrainingRun.objects.claim(run.pk, worker="train@two")
    assert again is not None and again.started_at == started_at


def test_a_worker_that_lost_its_claim_writes_nothing() -> None:
    run = claimed()
    TrainingRun.objects.held_by("train@one").release_claims()
    TrainingRun.objects.claim(run.pk, worker="train@two")
    for write in (lambda: run.record_progress(stage="training"), lambda: run.record_failure("no disk")):
        with pytest.raises(ClaimLost):
            write()
    assert (read(run).stage, read(run).state) == ("", RunState.RUNNING)


def test_a_run_fails_after_several_crashes_without_a_finished_epoch() -> None:
    run = claimed()
    for attempt in range(1, MAX_ATTEMPTS):
        run.requeue("It was killed (SIGKILL).")
        assert (read(run).state, read(run).attempts) == (RunState.QUEUED, attempt)
        again = TrainingRun.objects.claim(run.pk, worker="train@one")
        assert again is not None
        run = again
    run.requeue("It was killed (SIGKILL).")
    assert read(run).state == RunState.FAILED
    assert read(run).reason.endswith("It was killed (SIGKILL).")


def test_a_finished_epoch_resets_the_count_of_crashes() -> None:
    run = claimed(attempts=MAX_ATTEMPTS - 1)
    run.record_progress(metrics=[{"epoch": 1}])
    run.requeue("The worker was killed.")
    assert (read(run).state, read(run).attempts) == (RunState.QUEUED, 1)


def test_a_queued_run_is_cancelled_at_once_and_a_running_one_is_asked_to_stop() -> None:
    waiting, running = make_run(), claimed()
    waiting.request_cancel()
    assert read(waiting).state == RunState.CANCELLED
    assert running.record_progress() is False
    running.request_cancel()
    assert running.record_progress() is True
    running.record_cancelled()
    assert (read(running).state, read(running).claim_token) == (RunState.CANCELLED, None)


def test_a_run_with_a_cancel_request_is_cancelled_when_its_worker_dies() -> None:
    run = claimed()
    run.request_cancel()
    TrainingRun.objects.held_by("train@one").release_claims()
    assert read(run).state == RunState.CANCELLED


def test_only_a_failed_or_cancelled_run_is_resumed() -> None:
    run = claimed()
    with pytest.raises(IllegalTransition):
        run.resume()
    run.record_failure("The disk is full.", "x" * (LOG_TAIL + 10))
    assert len(read(run).log_tail) == LOG_TAIL
    read(run).resume()
    assert (read(run).state, read(run).reason, read(run).finished_at) == (RunState.QUEUED, "", None)
    with pytest.raises(IllegalTransition):
        claimed(state=RunState.QUEUED).resume()


def test_an_ended_run_cannot_be_cancelled() -> None:
    run = claimed()
    run.record_done(make_encoder())
    with pytest.raises(IllegalTransition):
        run.request_cancel()
    assert read(run).state == RunState.DONE


def test_an_evaluation_fails_after_several_crashes() -> None:
    evaluation = Evaluation.objects.create(
        encoder=make_encoder(), evaluation_set=EvaluationSet.objects.create(name="one")
    )
    for _ in range(3):
        claimed_row = Evaluation.objects.claim(evaluation.pk, worker="train@one")
        assert claimed_row is not None
        assert Evaluation.objects.claim(evaluation.pk, worker="train@two") is None
        claimed_row.requeue()
    evaluation.refresh_from_db()
    assert evaluation.state == EvaluationState.FAILED
    assert "3 times" in evaluation.reason
