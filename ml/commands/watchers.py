"""Progress of a training run on the command line: a bar for people, JSON lines for programs, or nothing."""

import json
import math
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

from tqdm import tqdm

from ml.commands.progress_bar import progress_bar
from ml.progress import Step, silent

JSON_EVERY_SECONDS = 1.0

T = TypeVar("T")


class BarWatcher:
    """One bar per epoch with loss, photos per second and remaining time, and one line at its end."""

    def __init__(self) -> None:
        self._bar: tqdm[Any] | None = None

    def progress(self, sequence: Sequence[T], label: str) -> Iterable[T]:
        return progress_bar(sequence, label)

    def stage(self, name: str) -> None:
        """Show nothing: the bars name their stage."""

    def step(self, step: Step) -> None:
        if self._bar is None:
            name = f"epoch {step.epoch}/{step.epochs}"
            self._bar = tqdm(total=step.steps, desc=name, unit="batch", file=sys.stderr)
        left = "" if step.seconds_left is None else f", {tqdm.format_interval(step.seconds_left)} left for all epochs"
        status = f"loss {step.loss:.3f}, {step.photos_per_second:.1f} photos/s{left}"
        self._bar.set_postfix_str(status, refresh=False)
        self._bar.update(step.step - self._bar.n)

    def epoch(self, row: Mapping[str, float]) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None
        figures = ", ".join(f"{name} {value:.4g}" for name, value in row.items() if name not in ("epoch", "lr"))
        tqdm.write(f"epoch {row['epoch']}: {figures}", file=sys.stderr)


class JsonWatcher:
    """One JSON object per line on stdout; the command's last line is {"event": "done", ...}.

    {"event": "stage", "what", "done", "of"} the current stage and, where countable, how many of how many are done
    {"event": "step", "epoch", "epochs", "step", "steps", "loss", "photos_per_second", "seconds_left", means…}
    {"event": "epoch", …} the row of metrics.jsonl

    Counted stages and steps are written at most once a second, and at their ends. NaN and infinity become null.
    """

    def __init__(self) -> None:
        self._last = 0.0

    def progress(self, sequence: Sequence[T], label: str) -> Iterable[T]:
        total = len(sequence)
        self._write({"event": "stage", "what": label, "done": 0, "of": total})
        for done, element in enumerate(sequence):
            if self._is_due():
                self._write({"event": "stage", "what": label, "done": done, "of": total})
            yield element
        self._write({"event": "stage", "what": label, "done": total, "of": total})

    def stage(self, name: str) -> None:
        self._write({"event": "stage", "what": name})

    def step(self, step: Step) -> None:
        if not self._is_due() and step.step < step.steps:
            return
        left = None if step.seconds_left is None else round(step.seconds_left, 1)
        position = {"epoch": step.epoch, "epochs": step.epochs, "step": step.step, "steps": step.steps}
        speed = {"loss": step.loss, "photos_per_second": round(step.photos_per_second, 2), "seconds_left": left}
        self._write({"event": "step"} | position | speed | dict(step.means))

    def epoch(self, row: Mapping[str, float]) -> None:
        self._write({"event": "epoch"} | dict(row))

    def _is_due(self) -> bool:
        now = time.monotonic()
        if now - self._last < JSON_EVERY_SECONDS:
            return False
        self._last = now
        return True

    def _write(self, line: Mapping[str, Any]) -> None:
        finite = {name: _finite_or_none(value) for name, value in line.items()}
        sys.stdout.write(json.dumps(finite) + "\n")
        sys.stdout.flush()


def _finite_or_none(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


class SilentWatcher:
    """A watcher without output."""

    def progress(self, sequence: Sequence[T], label: str) -> Iterable[T]:
        return silent(sequence, label)

    def stage(self, name: str) -> None: ...

    def step(self, step: Step) -> None: ...

    def epoch(self, row: Mapping[str, float]) -> None: ...


Watcher = BarWatcher | JsonWatcher | SilentWatcher

WATCHERS: dict[str, type[Watcher]] = {"bar": BarWatcher, "json": JsonWatcher, "none": SilentWatcher}
