"""Celery tasks of the `train` worker: train and evaluate. Each runs `ml` in a child process; torch is not loaded."""

from typing import Any

from celery import Task, shared_task
from celery.signals import worker_ready, worker_shutting_down

from catalog import tasks
from catalog.models import Evaluation, RunState, TrainingRun
from worker.processes.child import worker_stopping
from worker.training.evaluate import claimed_evaluation, evaluation_folder, run_evaluation
from worker.training.progress import RunReporter
from worker.training.run import claimed_run, perform_run


@shared_task(name=tasks.TRAIN, bind=True)
def train(self: "Task[Any, Any]", run_id: str) -> None:
    """queued -> running -> done, failed or cancelled; or queued again, to resume from the checkpoint.

    The oldest queued run is trained, whichever run the message names, even if it was just requeued.
    """
    oldest = TrainingRun.objects.filter(state=RunState.QUEUED).order_by("created_at").first()
    run = oldest and TrainingRun.objects.claim(oldest.pk, worker=self.request.hostname or "")
    if run is None:
        return
    reporter = RunReporter(run)
    with claimed_run(run, reporter):
        perform_run(run, reporter)


@shared_task(name=tasks.EVALUATE, bind=True)
def evaluate(self: "Task[Any, Any]", evaluation_id: str) -> None:
    """queued -> running -> done or failed; or queued again if the child process or the worker was killed."""
    evaluation = Evaluation.objects.claim(evaluation_id, worker=self.request.hostname or "")
    if evaluation is None:
        return
    with claimed_evaluation(evaluation), evaluation_folder(evaluation) as folder:
        run_evaluation(evaluation, folder)


@worker_ready.connect
def release_own_claims(sender: Any, **_: Any) -> None:
    """Release what a worker of this name held when it was killed; the sweep sends it again."""
    TrainingRun.objects.held_by(sender.hostname).release_claims("The worker was killed.")
    Evaluation.objects.held_by(sender.hostname).release_claims()


@worker_shutting_down.connect
def stop_children(**_: Any) -> None:
    """Have the running task stop its child process and give its row back; Celery itself would wait for the end."""
    worker_stopping.set()
