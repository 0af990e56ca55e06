"""The other task of the `train` worker: an encoder measured on an evaluation set, perhaps beside another one.

`ml evaluate` embeds every photo anew, in a program beside the worker: what is compared is the encoders as they lie in
their folders, not the vectors that earlier versions of the code may have stored.
"""

import json
import logging
import re
import shutil
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from celery import Task, shared_task
from celery.signals import worker_shutting_down
from django.conf import settings

from catalog import tasks
from catalog.errors import ClaimLost, Refused
from catalog.ml_cli import BAD_INPUT
from catalog.models import Encoder, Evaluation
from catalog.services.datasets.export import evaluation_data_write
from worker.processes.child import Beside, WorkHeld, how_it_ended
from worker.training.hard_negatives import samples_of

RENEW_SECONDS: Final = 2.0
BAR: Final = re.compile(r"(?P<what>[a-z ]+):\s+(?P<share>\d+)%")  # the progress on standard error

logger = logging.getLogger(__name__)

_stopping = threading.Event()  # this worker is to end


class Interrupted(Exception):
    """The evaluation was cut off from outside: it is worth another attempt."""


@shared_task(name=tasks.EVALUATE, bind=True)
def evaluate(self: "Task[Any, Any]", evaluation_id: str) -> None:
    """queued -> running -> done or failed; or queued again where the program, or the worker, was killed."""
    evaluation = Evaluation.objects.claim(evaluation_id, worker=self.request.hostname or "")
    if evaluation is None:
        return
    with recording_end(evaluation), own_folder(evaluation) as folder:
        report = report_beside(evaluation, folder)
        evaluation.renew_claim("collecting samples")
        evaluation.record_done(report, samples_of(evaluation))


def report_beside(evaluation: Evaluation, folder: Path) -> dict[str, Any]:
    """Write the data, have `ml` measure in a process beside this one, and return its report."""

    def tick(done: int, of: int) -> None:
        go_on(evaluation, f"collecting photos, {100 * done // of} %")

    go_on(evaluation, "collecting photos")
    encoders = [place_of(encoder) for encoder in (evaluation.encoder, evaluation.against) if encoder]
    data = evaluation_data_write(evaluation_set=evaluation.evaluation_set, folder=folder, tick=tick)
    out = folder / "report.json"
    command = [sys.executable, "-m", "ml", "evaluate", "--data", str(data), "--split", "test", "--out", str(out)]
    for option, place in zip(("--encoder", "--against"), encoders, strict=False):
        command += [option, str(place)]
    with Beside(command, log=folder / "log.txt", lock=folder / "lock") as program:
        while (code := program.wait(RENEW_SECONDS)) is None:
            go_on(evaluation, stage_told_by(program.last_words()))
        if code == 0:
            report: dict[str, Any] = json.loads(out.read_text())
            return report
        if code < 0:
            raise Interrupted(how_it_ended(code, ""))
        complaint = program.complaint() if code == BAD_INPUT else ""
        raise Refused("evaluation_failed", complaint or how_it_ended(code, program.last_words()))


def place_of(encoder: Encoder) -> Path:
    try:
        return encoder.folder
    except FileNotFoundError as error:
        raise Refused("encoder_folder", str(error)) from None


def go_on(evaluation: Evaluation, stage: str) -> None:
    """Renew the claim. ClaimLost where the evaluation was deleted or given away, Interrupted where the worker ends."""
    if _stopping.is_set():
        raise Interrupted("The worker was stopped.")
    evaluation.renew_claim(stage[:100])


def stage_told_by(last_words: str) -> str:
    """The latest progress in the words of `ml`, such as "phone photos, 40 %"."""
    bars = BAR.findall(last_words)
    return f"{bars[-1][0].strip()}, {bars[-1][1]} %" if bars else "loading"


@contextmanager
def own_folder(evaluation: Evaluation) -> Iterator[Path]:
    """A folder for one evaluation, gone afterwards; what a killed attempt has left in it goes before.

    Its lock stays until then: with it a program that is left over from that attempt is found and ended.
    """
    folder: Path = settings.VAR_DIR / "evaluations" / str(evaluation.pk)
    folder.mkdir(parents=True, exist_ok=True)
    for left in ("data.csv", "report.json", "log.txt"):
        (folder / left).unlink(missing_ok=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def recording_end(evaluation: Evaluation) -> Iterator[None]:
    """Write down what stopped a claimed evaluation: what would fail again ends it, all else is tried again."""
    try:
        yield
    except ClaimLost as lost:
        logger.warning("%s", lost)
    except Refused as refused:
        evaluation.record_failure(refused.detail)
    except (Interrupted, WorkHeld) as why:
        logger.warning("%s is put off: %s", evaluation, why)
        evaluation.requeue()
    except OSError as error:  # a full disk
        evaluation.record_failure(f"{error.strerror or error}: {error.filename or 'no file named'}")
    except Exception:
        evaluation.requeue()
        raise


@worker_shutting_down.connect
def stop_evaluating(**_: Any) -> None:
    """Celery waits for tasks to end: this one gives its evaluation back at once."""
    _stopping.set()
