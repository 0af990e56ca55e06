"""Progress of a training run: events of the child process are written to the row and the log.

The events are those of `ml.commands.watchers.JsonWatcher`.
"""

import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from django.db import InterfaceError, OperationalError, connection

from catalog.models import TrainingRun
from catalog.models.training import LOG_TAIL
from catalog.run_folder import run_folder

TRACE_POINTS: Final = 200
WRITE_SECONDS: Final = 1.0  # at most one UPDATE in this time while there are changes
RENEW_SECONDS: Final = 2.0  # the claim is renewed this often while there are none

_TRACED: Final = ("loss", "mined_triplets", "active_triplets")

T = TypeVar("T")

logger = logging.getLogger(__name__)


class Cancelled(Exception):
    """The cancellation of the run was requested."""

    code = "cancelled"


@dataclass(frozen=True)
class Stage:
    """A stage of a run: its label, and the shares of the whole run at its begin and end.

    The shares are rough, measured on a CPU; `seconds_left` predicts the end.
    """

    label: str
    begins: float
    ends: float


STAGES: Final = {
    "decoding": Stage("reading photos", 0.0, 0.02),
    "views": Stage("making views", 0.02, 0.12),
    "training": Stage("training", 0.12, 0.94),
    "measuring and writing the encoder": Stage("measuring and writing the encoder", 0.94, 0.99),
}


class RunProgress:
    """Progress of a run: `stage`, a label for people, and `values`, the content of `TrainingRun.progress`.

    `values["trace"]` holds points within the epochs, for live curves. `before`: the values of the same run before it
    was interrupted.
    """

    def __init__(self, before: Mapping[str, Any], finished_epochs: int) -> None:
        trace = [point for point in before.get("trace", []) if point["at"] <= finished_epochs]
        self.stage = ""
        self.values: dict[str, Any] = {"share": 0.0, "trace": trace}
        self._stage = Stage("", 0.0, 0.0)

    def take(self, event: Mapping[str, Any]) -> None:
        """Apply a "stage" or "step" event; other events change nothing."""
        if event["event"] == "stage":
            self._take_stage(event)
        elif event["event"] == "step":
            self._take_step(event)

    def set_stage(self, label: str, done: int, of: int) -> None:
        """Enter a stage of the worker itself, of which `done` of `of` parts are done."""
        self.stage = label
        self.values |= {"done": done, "of": of}

    def _take_stage(self, event: Mapping[str, Any]) -> None:
        stage = STAGES.get(event["what"])  # None for a part of the last stage: it keeps that stage's label
        done, of = event.get("done"), event.get("of")
        for name in ("done", "of"):
            self.values.pop(name, None)
        if of:
            self.values |= {"done": done, "of": of}
        if stage is not None:
            self._stage, self.stage = stage, stage.label
            self._advance(done / of if of and done else 0.0)

    def _take_step(self, event: Mapping[str, Any]) -> None:
        self.values |= {name: value for name, value in event.items() if name != "event"}
        at = event["epoch"] - 1 + event["step"] / event["steps"]
        point = {"at": round(at, 3)} | {name: event[name] for name in _TRACED if name in event}
        self.values["trace"] = thin_out([*self.values["trace"], point])
        self._advance(at / event["epochs"])

    def _advance(self, share_of_stage: float) -> None:
        share = self._stage.begins + (self._stage.ends - self._stage.begins) * share_of_stage
        self.values["share"] = round(max(share, self.values["share"]), 4)


def thin_out(points: list[T]) -> list[T]:
    """Drop every other point if there are more than `TRACE_POINTS`; the last one stays."""
    return points if len(points) <= TRACE_POINTS else points[::-2][::-1]


class RunReporter:
    """Writes the progress of a claimed run to its row and its log, at most once per `WRITE_SECONDS`.

    While the database is unreachable, changes are buffered and written later.
    """

    def __init__(self, run: TrainingRun) -> None:
        self._run = run
        self._progress = RunProgress(run.progress, len(run.metrics))
        self._changes: dict[str, Any] = {}
        self._sent, self._log_size = 0.0, -1
        self._log = run_folder(run) / "log.txt"

    def stage(self, label: str, done: int = 0, of: int = 0) -> None:
        """Enter a stage outside the training itself, of which `done` of `of` parts are done."""
        if label != self._progress.stage:
            self.write(label)
        self._progress.set_stage(label, done, of)
        self._changes |= {"stage": label, "progress": dict(self._progress.values)}

    def note(self, **columns: Any) -> None:
        """Write further columns of the row with the next changes."""
        self._changes |= columns

    def start_over(self) -> None:
        """Discard the progress of earlier attempts."""
        self._progress = RunProgress({}, 0)
        self._changes["metrics"] = []

    def take(self, event: Mapping[str, Any]) -> None:
        """Apply an event of the training."""
        before = self._progress.stage
        self._progress.take(event)
        self._changes |= {"stage": self._progress.stage, "progress": dict(self._progress.values)}
        if self._progress.stage != before:
            self.write(self._progress.stage)
        if event["event"] == "epoch":
            self.read_metrics()
            numbers = {name: value for name, value in event.items() if isinstance(value, int | float)}
            self.write(", ".join(f"{name} {value:.4g}" for name, value in numbers.items()))

    def read_metrics(self) -> None:
        """Read the metrics of the finished epochs from the file that the training writes."""
        self._changes["metrics"] = _load_metrics(self._run)

    def send(self, *, at_once: bool = False) -> None:
        """Write the changes and renew the claim, if `WRITE_SECONDS` have passed or `at_once`.

        Raises `Cancelled` if the cancellation was requested, and `ClaimLost` if another worker claimed the run.
        """
        waited = time.monotonic() - self._sent
        if not at_once and waited < (WRITE_SECONDS if self._changes else RENEW_SECONDS):
            return
        self._sent = time.monotonic()
        self._read_log()
        try:
            is_cancelled = self._run.record_progress(**self._changes)
        except (OperationalError, InterfaceError) as error:
            logger.warning(
                "The progress of %s cannot be written now; it is buffered and written later: %s", self._run, error
            )
            connection.close()
            return
        self._changes.clear()
        if is_cancelled:
            raise Cancelled

    def write(self, line: str) -> None:
        """Append a line to the log. A full disk loses the line; the training itself reports the full disk."""
        try:
            with self._log.open("a") as file:
                file.write(f"{time.strftime('%H:%M:%S')} {line}\n")
        except OSError as error:
            logger.warning("The log of %s cannot be written: %s", self._run, error)

    def log_tail(self) -> str:
        """Return the end of the log, at most `LOG_TAIL` bytes, as stored in the row; empty if it cannot be read."""
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
            self._changes["log_tail"] = self.log_tail()


def _load_metrics(run: TrainingRun) -> list[dict[str, Any]]:
    """Return the rows of metrics.jsonl, without a last line that is still being written."""
    file = run_folder(run) / "run" / "metrics.jsonl"
    lines = file.read_bytes().split(b"\n")[:-1] if file.exists() else []
    return [json.loads(line) for line in lines]


def retry_until_written(write: Callable[[], None], give_up: Callable[[], bool]) -> None:
    """Call `write` until the database accepts it. Re-raises its error once `give_up()` is true."""
    while True:
        try:
            return write()
        except (OperationalError, InterfaceError) as error:
            logger.warning("The end of a run cannot be written now; it is tried again: %s", error)
            connection.close()
            if give_up():
                raise
            time.sleep(RENEW_SECONDS)
