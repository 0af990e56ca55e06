"""How a training run is shown: a bar for a person, JSON lines for a program, or nothing."""

import json
import math
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

from tqdm import tqdm

from ml.commands.bars import bar
from ml.progress import Step, silent

JSON_EVERY_SECONDS = 1.0

T = TypeVar("T")


class BarWatcher:
    """One bar per epoch with loss, photos per second and time left, and one line when it is done."""

    def __init__(self) -> None:
        self._bar: tqdm[Any] | None = None

    def progress(self, sequence: Sequence[T], label: str) -> Iterable[T]:
        return bar(sequence, label)

    def stage(self, what: str) -> None:
        """The bars tell it."""

    def step(self, step: Step) -> None:
        if self._bar is None:
            name = f"epoch {step.epoch}/{step.epochs}"
            self._bar = tqdm(total=step.steps, desc=name, unit="batch", file=sys.stderr)
        left = "" if step.seconds_left is None else f", {tqdm.format_interval(step.seconds_left)} left for all epochs"
        shown = f"loss {step.loss:.3f}, {step.photos_per_second:.1f} photos/s{left}"
        self._bar.set_postfix_str(shown, refresh=False)
        self._bar.update(step.step - self._bar.n)

    def epoch(self, row: Mapping[str, float]) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None
        shown = ", ".join(f"{name} {value:.4g}" for name, value in row.items() if name not in ("epoch", "lr"))
        tqdm.write(f"epoch {row['epoch']}: {shown}", file=sys.stderr)


class JsonWatcher:
    """One JSON object a line on stdout; the command's last line is one, too: {"event": "done", ...}.

    {"event": "stage", "what", "done", "of"} what is done now, and how many of how many are; the two may be left out
    {"event": "step", "epoch", "epochs", "step", "steps", "loss", "photos_per_second", "seconds_left", means…}
    {"event": "epoch", …} the row of metrics.jsonl

    Stages with a count and steps come at most once a second, and at their ends. What is no number is null.
    """

    def __init__(self) -> None:
        self._last = 0.0

    def progress(self, sequence: Sequence[T], label: str) -> Iterable[T]:
        total = len(sequence)
        self._tell({"event": "stage", "what": label, "done": 0, "of": total})
        for done, element in enumerate(sequence):
            if self._is_time():
                self._tell({"event": "stage", "what": label, "done": done, "of": total})
            yield element
        self._tell({"event": "stage", "what": label, "done": total, "of": total})

    def stage(self, what: str) -> None:
        self._tell({"event": "stage", "what": what})

    def step(self, step: Step) -> None:
        if not self._is_time() and step.step < step.steps:
            return
        left = None if step.seconds_left is None else round(step.seconds_left, 1)
        place = {"epoch": step.epoch, "epochs": step.epochs, "step": step.step, "steps": step.steps}
        pace = {"loss": step.loss, "photos_per_second": round(step.photos_per_second, 2), "seconds_left": left}
        self._tell({"event": "step"} | place | pace | dict(step.means))

    def epoch(self, row: Mapping[str, float]) -> None:
        self._tell({"event": "epoch"} | dict(row))

    def _is_time(self) -> bool:
        now = time.monotonic()
        if now - self._last < JSON_EVERY_SECONDS:
            return False
        self._last = now
        return True

    def _tell(self, line: Mapping[str, Any]) -> None:
        numbers = {name: None if isinstance(it, float) and not math.isfinite(it) else it for name, it in line.items()}
        sys.stdout.write(json.dumps(numbers) + "\n")
        sys.stdout.flush()


class SilentWatcher:
    """Shows nothing."""

    def progress(self, sequence: Sequence[T], label: str) -> Iterable[T]:
        return silent(sequence, label)

    def stage(self, what: str) -> None: ...

    def step(self, step: Step) -> None: ...

    def epoch(self, row: Mapping[str, float]) -> None: ...


Watcher = BarWatcher | JsonWatcher | SilentWatcher

WATCHERS: dict[str, type[Watcher]] = {"bar": BarWatcher, "json": JsonWatcher, "none": SilentWatcher}
