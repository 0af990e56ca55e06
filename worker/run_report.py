"""What the row and the log of a training run are told while it goes on."""

import json
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from django.db import InterfaceError, OperationalError, connection

from catalog.models import TrainingRun
from catalog.models.training import LOG_TAIL
from catalog.run_folder import run_folder
from worker.training.progress import Progress

EVERY_SECONDS: Final = 1.0  # what is new is written no more often
RENEW_SECONDS: Final = 2.0  # the claim is renewed although nothing is new

logger = logging.getLogger(__name__)


class Cancelled(Exception):
    """Someone wants the run to stop."""


class Report:
    """Collects what is new of a claimed run and writes it down now and then.

    The database may be away for a while: then everything is written once it is back. `send` raises `Cancelled`, and
    `ClaimLost` where the run was given to another worker meanwhile.
    """

    def __init__(self, run: TrainingRun) -> None:
        self._run = run
        self._progress = Progress(run.progress, len(run.metrics))
        self._new: dict[str, Any] = {}
        self._sent, self._log_size = 0.0, -1
        self._log = run_folder(run) / "log.txt"

    def stage(self, words: str, done: int = 0, of: int = 0) -> None:
        """What is done besides the training itself, and how much of it."""
        if words != self._progress.stage:
            self.write(words)
        self._progress.count(words, done, of)
        self._new |= {"stage": words, "progress": dict(self._progress.shown)}

    def note(self, **columns: Any) -> None:
        """Other columns of the row that are to be written with what is new."""
        self._new |= columns

    def start_over(self) -> None:
        """What was trained before does not count any more."""
        self._progress = Progress({}, 0)
        self._new["metrics"] = []

    def take(self, event: Mapping[str, Any]) -> None:
        """What the training says of itself."""
        before = self._progress.stage
        self._progress.take(event)
        self._new |= {"stage": self._progress.stage, "progress": dict(self._progress.shown)}
        if self._progress.stage != before:
            self.write(self._progress.stage)
        if event["event"] == "epoch":
            self.read_metrics()
            figures = {name: value for name, value in event.items() if isinstance(value, int | float)}
            self.write(", ".join(f"{name} {value:.4g}" for name, value in figures.items()))

    def read_metrics(self) -> None:
        """The finished epochs, from the file that the training keeps of them."""
        self._new["metrics"] = metrics_of(self._run)

    def send(self, *, at_once: bool = False) -> None:
        """Write what is new, if it is time to, and renew the claim."""
        waited = time.monotonic() - self._sent
        if not at_once and waited < (EVERY_SECONDS if self._new else RENEW_SECONDS):
            return
        self._sent = time.monotonic()
        self._read_log()
        try:
            stop = self._run.record_progress(**self._new)
        except (OperationalError, InterfaceError) as error:
            logger.warning("The progress of %s cannot be written now: %s", self._run, error)
            connection.close()
            return
        self._new.clear()
        if stop:
            raise Cancelled

    def write(self, line: str) -> None:
        """Add a line to the log. A full disk loses it; whatever else that stops is told as the run's reason."""
        try:
            with self._log.open("a") as file:
                file.write(f"{time.strftime('%H:%M:%S')} {line}\n")
        except OSError as error:
            logger.warning("The log of %s cannot be written: %s", self._run, error)

    def log_tail(self) -> str:
        """The end of the log, as the row keeps it."""
        try:
            with self._log.open("rb") as file:
                file.seek(max(0, file.seek(0, 2) - LOG_TAIL))
                return file.read().decode(errors="replace").replace("\r", "\n").replace("\0", "")
        except OSError:
            return ""

    def _read_log(self) -> None:
        size = self._log.stat().st_size if self._log.exists() else 0
        if size != self._log_size:
            self._log_size = size
            self._new["log_tail"] = self.log_tail()


def metrics_of(run: TrainingRun) -> list[dict[str, Any]]:
    """The rows of metrics.jsonl, without a line that is still being written."""
    file = run_folder(run) / "run" / "metrics.jsonl"
    lines = file.read_bytes().split(b"\n")[:-1] if file.exists() else []
    return [json.loads(line) for line in lines]


def persistently(write: Callable[[], None], given_up: Callable[[], bool]) -> None:
    """Write how a run has ended as soon as the database lets us, until `given_up` says that there is no time left."""
    while True:
        try:
            return write()
        except (OperationalError, InterfaceError) as error:
            logger.warning("How a run has ended cannot be written now: %s", error)
            connection.close()
            if given_up():
                raise
            time.sleep(RENEW_SECONDS)
