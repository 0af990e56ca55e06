"""The task of the `train` worker: a training run, from its data to its registered encoder.

The training itself is a program beside the worker. It dies with it, and whoever takes the run over goes on from the
last whole epoch. Nothing of torch is loaded here.
"""

import json
import logging
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

from celery import Task, shared_task
from celery.signals import worker_ready, worker_shutting_down
from django.db import transaction

from catalog import tasks
from catalog.errors import ClaimLost, Refused
from catalog.ml_cli import BAD_INPUT
from catalog.models import Evaluation, RunState, TrainingRun
from catalog.run_folder import run_encoder_folder, run_folder
from catalog.services.datasets.export import training_data_write
from catalog.services.encoders.register import encoder_register
from ml.encoder.card import Card, card_to_json
from ml.encoder.folder import check_folder
from ml.formats.errors import InputError
from worker.processes.child import Beside, WorkHeld, how_it_ended
from worker.run_report import Cancelled, Report, persistently
from worker.training.command import gpus, training_command

POLL_SECONDS: Final = 0.2
CANCEL_SECONDS, STOP_SECONDS = 10.0, 3.0  # that the training has to tidy up; a stopped worker is soon killed itself

logger = logging.getLogger(__name__)

_stopping = threading.Event()  # this worker is to end


class Crashed(Exception):
    """The training ended without having said what was wrong: it may go better the next time."""


@shared_task(name=tasks.TRAIN, bind=True)
def train(self: "Task[Any, Any]", run_id: str) -> None:
    """queued -> running -> done, failed or cancelled; or queued again, to go on from the checkpoint.

    Whichever run the message names, the one that was started first has its turn: also when it has just been given back.
    """
    first = TrainingRun.objects.filter(state=RunState.QUEUED).order_by("created_at").first()
    run = first and TrainingRun.objects.claim(first.pk, worker=self.request.hostname or "")
    if run is None:
        return
    report = Report(run)
    with recording_end(run, report):
        run_folder(run).mkdir(parents=True, exist_ok=True)
        card = written_card(run) or train_beside(run, report)
        report.read_metrics()
        report.stage("registering")
        report.send(at_once=True)
        persistently(lambda: register(run, card), _stopping.is_set)
        remove_leftovers(run, "cache", "photos", "run/checkpoint.pt", "run/best.pt")


def train_beside(run: TrainingRun, report: Report) -> Card:
    """Write the data, train in a process beside this one, and return the card of the encoder."""

    def tick(done: int, of: int) -> None:
        report.stage("collecting photos", done, of)
        look_up(report)

    tick(0, 0)
    counts = training_data_write(run=run, folder=run_folder(run), tick=tick)
    report.note(data=counts)
    if counts.get("started_over"):
        report.start_over()
    command = training_command(run, gpus())
    report.stage("starting the training")
    report.send(at_once=True)
    with Beside(command, log=run_folder(run) / "log.txt", lock=run_folder(run) / "lock") as training:
        code = followed(training, report)
        if code == 0:
            return check_folder(run_encoder_folder(run))
        complaint = training.complaint()
        if complaint and (code == BAD_INPUT or "torch.distributed.run" in command):  # torchrun has codes of its own
            raise Refused("training_failed", complaint)
        raise Crashed(how_it_ended(code, training.last_words()))


def followed(training: Beside, report: Report) -> int:
    """Tell what the training says until it ends; its exit code. Stops it when it is cancelled or has to stop."""
    try:
        while (code := training.wait(POLL_SECONDS)) is None:
            for event in training.events():
                report.take(event)
            look_up(report)
    except Cancelled:
        training.stop(CANCEL_SECONDS)
        raise
    except Crashed:
        training.stop(STOP_SECONDS)
        raise
    for event in training.events():
        report.take(event)
    report.send(at_once=True)  # also where it was killed: the row says how far it had come
    return code


def look_up(report: Report) -> None:
    """Write down what is new, and see whether to go on at all."""
    if _stopping.is_set():
        raise Crashed("The worker was stopped.")
    report.send()


def written_card(run: TrainingRun) -> Card | None:
    """The card of the run's encoder where an earlier attempt has written it, but did not live to register it.

    A folder of this name that others have made meanwhile is Refused.
    """
    out = run_encoder_folder(run)
    if not out.exists():
        return None
    written, checkpoint = out / "card.json", run_folder(run) / "run" / "checkpoint.pt"
    if not checkpoint.exists() or not written.exists() or checkpoint.stat().st_mtime > written.stat().st_mtime:
        raise Refused("encoder_name_taken", f"There is another encoder folder called {run.name!r} by now.")
    try:
        return check_folder(out)
    except InputError as error:  # it did not reach the disk as it was written: it is written again
        logger.warning("The encoder of %s is written again: %s", run, error)
        shutil.rmtree(out)
        return None


def register(run: TrainingRun, card: Card) -> None:
    """Register the encoder and end the run, both or none."""
    with transaction.atomic():
        run.record_done(encoder_register(folder=run_encoder_folder(run), card=json.loads(card_to_json(card))))


def remove_leftovers(run: TrainingRun, *names: str) -> None:
    """Delete files of a run that nobody needs any more, and what a killed attempt has half-written."""
    out = run_encoder_folder(run)
    for path in (*(run_folder(run) / name for name in names), out.with_name(out.name + ".part")):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            with suppress(OSError):
                path.unlink()


@contextmanager
def recording_end(run: TrainingRun, report: Report) -> Iterator[None]:
    """Write down what stopped a claimed run. Its checkpoint stays; kept views go, as they may fill the disk."""
    try:
        yield
    except ClaimLost as lost:
        logger.warning("%s", lost)
    except Cancelled:
        report.write("cancelled")
        remove_leftovers(run, "cache")
        _end(run.record_cancelled)
    except (Refused, InputError, OSError) as error:
        reason = _in_words(error)
        report.write(f"failed: {reason}")
        remove_leftovers(run, "cache")
        _end(lambda: run.record_failure(reason, report.log_tail()))
    except (Crashed, WorkHeld) as crash:
        why = str(crash)
        report.write(why)
        _end(lambda: run.requeue(why))
    except Exception as error:
        why = f"{type(error).__name__}: {error}"
        report.write(why)
        _end(lambda: run.requeue(why))
        raise


def _end(write: Any) -> None:
    try:
        persistently(write, _stopping.is_set)
    except ClaimLost as lost:
        logger.warning("%s", lost)


def _in_words(error: Exception) -> str:
    if isinstance(error, OSError):  # a full disk, a folder without permission
        return f"{error.strerror or error}: {error.filename or 'no file named'}"
    return error.detail if isinstance(error, Refused) else str(error)


@worker_ready.connect
def release_own_claims(sender: Any, **_: Any) -> None:
    """Give back what a worker of this name held when it was killed; the sweep sends it again."""
    TrainingRun.objects.held_by(sender.hostname).release("The worker was killed.")
    Evaluation.objects.held_by(sender.hostname).release()


@worker_shutting_down.connect
def stop_training(**_: Any) -> None:
    """Celery waits for tasks to end: this one gives its run back at once instead, with what it has reached."""
    _stopping.set()
