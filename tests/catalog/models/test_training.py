"""A run is in one worker's hands at a time, ends in one way, and never dies for ever."""

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


def seen(run: TrainingRun) -> TrainingRun:
    return TrainingRun.objects.get(pk=run.pk)


def test_of_two_workers_with_the_same_message_one_gets_the_run() -> None:
    run = claimed()
    assert TrainingRun.objects.claim(run.pk, worker="train@two") is None
    assert (run.state, run.claimed_by) == (RunState.RUNNING, "train@one")
    assert run.started_at is not None


def test_a_run_that_goes_on_keeps_the_moment_of_its_beginning() -> None:
    run = claimed()
    began = run.started_at
    run.requeue("It was killed (SIGKILL).")
    again = TrainingRun.objects.claim(run.pk, worker="train@two")
    assert again is not None and again.started_at == began


def test_who_has_lost_a_run_writes_nothing_more_to_it() -> None:
    mine = claimed()
    TrainingRun.objects.held_by("train@one").release()
    TrainingRun.objects.claim(mine.pk, worker="train@two")
    for write in (lambda: mine.record_progress(stage="training"), lambda: mine.record_failure("no disk")):
        with pytest.raises(ClaimLost):
            write()
    assert (seen(mine).stage, seen(mine).state) == ("", RunState.RUNNING)


def test_a_run_that_dies_without_another_epoch_is_given_up() -> None:
    run = claimed()
    for attempt in range(1, MAX_ATTEMPTS):
        run.requeue("It was killed (SIGKILL).")
        assert (seen(run).state, seen(run).attempts) == (RunState.QUEUED, attempt)
        again = TrainingRun.objects.claim(run.pk, worker="train@one")
        assert again is not None
        run = again
    run.requeue("It was killed (SIGKILL).")
    assert seen(run).state == RunState.FAILED
    assert seen(run).reason.endswith("It was killed (SIGKILL).")


def test_a_finished_epoch_gives_it_all_its_lives_back() -> None:
    run = claimed(attempts=MAX_ATTEMPTS - 1)
    run.record_progress(metrics=[{"epoch": 1}])
    run.requeue("The worker was killed.")
    assert (seen(run).state, seen(run).attempts) == (RunState.QUEUED, 1)


def test_a_run_that_waits_is_cancelled_at_once_and_one_that_runs_is_told() -> None:
    waiting, running = make_run(), claimed()
    waiting.request_cancel()
    assert seen(waiting).state == RunState.CANCELLED
    assert running.record_progress() is False
    running.request_cancel()
    assert running.record_progress() is True
    running.record_cancelled()
    assert (seen(running).state, seen(running).claim_token) == (RunState.CANCELLED, None)


def test_a_run_to_be_cancelled_whose_worker_dies_is_cancelled() -> None:
    run = claimed()
    run.request_cancel()
    TrainingRun.objects.held_by("train@one").release()
    assert seen(run).state == RunState.CANCELLED


def test_only_a_failed_or_cancelled_run_is_resumed() -> None:
    run = claimed()
    with pytest.raises(IllegalTransition):
        run.resume()
    run.record_failure("The disk is full.", "x" * (LOG_TAIL + 10))
    assert len(seen(run).log_tail) == LOG_TAIL
    seen(run).resume()
    assert (seen(run).state, seen(run).reason, seen(run).finished_at) == (RunState.QUEUED, "", None)
    with pytest.raises(IllegalTransition):
        claimed(state=RunState.QUEUED).resume()


def test_a_run_that_is_over_cannot_be_cancelled() -> None:
    run = claimed()
    run.record_done(make_encoder())
    with pytest.raises(IllegalTransition):
        run.request_cancel()
    assert seen(run).state == RunState.DONE


def test_an_evaluation_is_claimed_once_and_given_up_after_so_many_deaths() -> None:
    made = Evaluation.objects.create(encoder=make_encoder(), evaluation_set=EvaluationSet.objects.create(name="one"))
    for _ in range(3):
        mine = Evaluation.objects.claim(made.pk, worker="train@one")
        assert mine is not None
        assert Evaluation.objects.claim(made.pk, worker="train@two") is None
        mine.requeue()
    made.refresh_from_db()
    assert (made.state, made.reason) == (EvaluationState.FAILED, "The worker died 3 times during this evaluation.")
