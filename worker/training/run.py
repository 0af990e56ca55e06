"""Training run in the `train` worker: write its data, train in a child process, register the encoder.

The child process is killed with the worker; the next attempt resumes after the last complete epoch. Does not import
torch.
"""

import json
import logging
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

from django.db import transaction

from catalog.errors import Refused
from catalog.ml_cli import BAD_INPUT
from catalog.models import TrainingRun
from catalog.run_folder import run_encoder_folder, run_folder
from catalog.services.datasets.export import training_data_write
from catalog.services.encoders.register import encoder_register
from ml.encoder.card import Card, card_to_json
from ml.encoder.folder import check_folder
from ml.formats.errors import InputError
from worker.claims import claimed
from worker.processes.child import ChildProcess, WorkHeld, exit_reason, worker_stopping
from worker.training.command import count_gpus, training_command
from worker.training.progress import Cancelled, RunReporter, retry_until_written

POLL_SECONDS: Final = 0.2
CANCEL_SECONDS, STOP_SECONDS = 10.0, 3.0  # for the training to clean up; a stopped worker is soon killed itself

logger = logging.getLogger(__name__)


class Crashed(Exception):
    """The training ended without reporting an error of its input: the next attempt may succeed."""

    code = "training_crashed"


@contextmanager
def claimed_run(run: TrainingRun, reporter: RunReporter) -> Iterator[None]:
    """Work on a claimed run, and record the error that stopped it in the row and the log.

    The checkpoint stays for the next attempt. The cache of views is deleted: it may fill the disk.
    """

    def fail(error: Exception) -> None:
        remove_leftovers(run, "cache")
        if isinstance(error, Cancelled):
            reporter.write("cancelled")
            _record_end(run.record_cancelled)
        else:
            reason = _reason(error)
            reporter.write(f"failed: {reason}")
            _record_end(lambda: run.record_failure(reason, reporter.log_tail()))

    def requeue(error: Exception) -> None:
        why = str(error) if isinstance(error, transient) else f"{type(error).__name__}: {error}"
        reporter.write(why)
        _record_end(lambda: run.requeue(why))

    permanent, transient = (Refused, InputError, OSError, Cancelled), (Crashed, WorkHeld)
    with claimed(fail=fail, requeue=requeue, permanent=permanent, transient=transient):
        yield


def _record_end(write: Callable[[], None]) -> None:
    retry_until_written(write, worker_stopping.is_set)


def _reason(error: Exception) -> str:
    if isinstance(error, OSError):  # a full disk, a folder without permission
        return f"{error.strerror or error}: {error.filename or 'no file named'}"
    return str(error)


def perform_run(run: TrainingRun, reporter: RunReporter) -> None:
    """Train the encoder of a claimed run, unless an earlier attempt has written it, and register it."""
    run_folder(run).mkdir(parents=True, exist_ok=True)
    card = load_written_card(run) or train_in_child(run, reporter)
    reporter.read_metrics()
    reporter.stage("registering")
    reporter.send(at_once=True)
    _record_end(lambda: register(run, card))
    remove_leftovers(run, "cache", "photos", "run/checkpoint.pt", "run/best.pt")


def load_written_card(run: TrainingRun) -> Card | None:
    """Return the card of the encoder that an earlier attempt has written but not registered; None if there is none.

    Raises `Refused` (`encoder_name_taken`) if the folder does not stem from this run.
    """
    out = run_encoder_folder(run)
    if not out.exists():
        return None
    card, checkpoint = out / "card.json", run_folder(run) / "run" / "checkpoint.pt"
    if not checkpoint.exists() or not card.exists() or checkpoint.stat().st_mtime > card.stat().st_mtime:
        raise Refused(
            "encoder_name_taken", f"There is another encoder folder called {run.name!r}. Start a run with another name."
        )
    try:
        return check_folder(out)
    except InputError as error:  # a crash of the machine lost written data
        logger.warning("The encoder folder of %s is damaged; the run trains again from its checkpoint: %s", run, error)
        shutil.rmtree(out)
        return None


def train_in_child(run: TrainingRun, reporter: RunReporter) -> Card:
    """Write the data, train in a child process, and return the card of the encoder."""

    def report_progress(done: int, of: int) -> None:
        reporter.stage("collecting photos", done, of)
        check_in(reporter)

    report_progress(0, 0)
    counts = training_data_write(run=run, folder=run_folder(run), progress=report_progress)
    reporter.note(data=counts)
    if counts.get("started_over"):
        reporter.start_over()
    command = training_command(run, count_gpus())
    reporter.stage("starting the training")
    reporter.send(at_once=True)
    with ChildProcess(command, log=run_folder(run) / "log.txt", lock=run_folder(run) / "lock") as training:
        code = follow(training, reporter)
        if code == 0:
            return check_folder(run_encoder_folder(run))
        error_line = training.error_line()
        if error_line and (code == BAD_INPUT or "torch.distributed.run" in command):  # torchrun has its own codes
            raise Refused("training_failed", error_line)
        raise Crashed(exit_reason(code, training.stderr_tail()))


def follow(training: ChildProcess, reporter: RunReporter) -> int:
    """Report the events of the training until it ends, and return its exit code.

    Stops the training and raises `Cancelled` or `Crashed` if the run is cancelled or the worker shuts down.
    """
    try:
        while (code := training.wait(POLL_SECONDS)) is None:
            for event in training.events():
                reporter.take(event)
            check_in(reporter)
    except Cancelled:
        training.stop(CANCEL_SECONDS)
        raise
    except Crashed:
        training.stop(STOP_SECONDS)
        raise
    for event in training.events():
        reporter.take(event)
    reporter.send(at_once=True)  # after a crash too, so that the row has the latest progress
    return code


def check_in(reporter: RunReporter) -> None:
    """Write the changes. Raises `Crashed` if the worker shuts down, and the errors of `RunReporter.send`."""
    if worker_stopping.is_set():
        raise Crashed("The worker was stopped.")
    reporter.send()


def register(run: TrainingRun, card: Card) -> None:
    """Register the encoder and end the run, in one transaction."""
    with transaction.atomic():
        run.record_done(encoder_register(folder=run_encoder_folder(run), card=json.loads(card_to_json(card))))


def remove_leftovers(run: TrainingRun, *names: str) -> None:
    """Delete these files of the run's folder, and the partial encoder folder of a killed attempt."""
    out = run_encoder_folder(run)
    for path in (*(run_folder(run) / name for name in names), out.with_name(out.name + ".part")):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            with suppress(OSError):
                path.unlink()
