"""Evaluation in the `train` worker: an encoder, alone or against another encoder, measured on an evaluation set.

`ml evaluate` embeds every photo again in a child process: it measures the encoders in their folders, not stored vectors
that may stem from earlier versions of the code.
"""

import json
import logging
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from django.conf import settings

from catalog.errors import Refused
from catalog.ml_cli import BAD_INPUT
from catalog.models import Encoder, Evaluation
from catalog.services.datasets.export import evaluation_data_write
from worker.claims import claimed
from worker.processes.child import ChildProcess, WorkHeld, exit_reason, worker_stopping
from worker.training.hard_negatives import build_samples

RENEW_SECONDS: Final = 2.0
PROGRESS_BAR: Final = re.compile(r"(?P<what>[a-z ]+):\s+(?P<share>\d+)%")  # of `ml evaluate` on standard error

logger = logging.getLogger(__name__)


class Interrupted(Exception):
    """The child process or the worker was killed; the evaluation is tried again."""

    code = "evaluation_interrupted"


@contextmanager
def claimed_evaluation(evaluation: Evaluation) -> Iterator[None]:
    """Work on a claimed evaluation: bad input and a full disk fail it, any other error requeues it."""

    def fail(error: Exception) -> None:
        if isinstance(error, OSError):
            evaluation.record_failure(f"{error.strerror or error}: {error.filename or 'no file named'}")
        else:
            evaluation.record_failure(str(error))

    def requeue(error: Exception) -> None:
        logger.warning("%s was interrupted and is tried again: %s", evaluation, error)
        evaluation.requeue()

    permanent, transient = (Refused, OSError), (Interrupted, WorkHeld)
    with claimed(fail=fail, requeue=requeue, permanent=permanent, transient=transient):
        yield


@contextmanager
def evaluation_folder(evaluation: Evaluation) -> Iterator[Path]:
    """Yield a folder for one evaluation, without the files of a killed attempt; delete it afterwards.

    The lock file of the killed attempt stays: a child process that survived is found by it and killed.
    """
    folder: Path = settings.VAR_DIR / "evaluations" / str(evaluation.pk)
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("data.csv", "report.json", "log.txt"):
        (folder / name).unlink(missing_ok=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def run_evaluation(evaluation: Evaluation, folder: Path) -> None:
    """Measure in a child process, collect samples, and record both."""
    report = evaluate_in_child(evaluation, folder)
    evaluation.renew_claim("collecting samples")
    evaluation.record_done(report, build_samples(evaluation))


def evaluate_in_child(evaluation: Evaluation, folder: Path) -> dict[str, Any]:
    """Write the data, run `ml evaluate` in a child process, and return its report."""

    def report_progress(done: int, of: int) -> None:
        check_in(evaluation, f"collecting photos, {100 * done // of} %")

    check_in(evaluation, "collecting photos")
    folders = [_folder_of(encoder) for encoder in (evaluation.encoder, evaluation.against) if encoder]
    data = evaluation_data_write(evaluation_set=evaluation.evaluation_set, folder=folder, progress=report_progress)
    out = folder / "report.json"
    command = [sys.executable, "-m", "ml", "evaluate", "--data", str(data), "--split", "test", "--out", str(out)]
    for option, encoder_folder in zip(("--encoder", "--against"), folders, strict=False):
        command += [option, str(encoder_folder)]
    with ChildProcess(command, log=folder / "log.txt", lock=folder / "lock") as child:
        while (code := child.wait(RENEW_SECONDS)) is None:
            check_in(evaluation, parse_stage(child.stderr_tail()))
        if code == 0:
            report: dict[str, Any] = json.loads(out.read_text())
            return report
        if code < 0:
            raise Interrupted(exit_reason(code, ""))
        error_line = child.error_line() if code == BAD_INPUT else ""
        raise Refused("evaluation_failed", error_line or exit_reason(code, child.stderr_tail()))


def _folder_of(encoder: Encoder) -> Path:
    try:
        return encoder.folder
    except FileNotFoundError as error:
        raise Refused("encoder_folder", str(error)) from None


def check_in(evaluation: Evaluation, stage: str) -> None:
    """Renew the claim and write the stage.

    Raises `ClaimLost` if the evaluation was deleted or claimed elsewhere, `Interrupted` if the worker shuts down.
    """
    if worker_stopping.is_set():
        raise Interrupted("The worker was stopped.")
    evaluation.renew_claim(stage[:100])


def parse_stage(stderr_tail: str) -> str:
    """Return the latest progress bar as a stage, such as "phone photos, 40 %"; "loading" before the first."""
    bars = PROGRESS_BAR.findall(stderr_tail)
    return f"{bars[-1][0].strip()}, {bars[-1][1]} %" if bars else "loading"
