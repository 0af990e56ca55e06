"""How far a training run is, from what the training says of itself (see `ml.commands.watchers.JsonWatcher`)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

TRACE_POINTS: Final = 200

_TRACED: Final = ("loss", "mined_triplets", "active_triplets")

T = TypeVar("T")


@dataclass(frozen=True)
class Stage:
    """A part of a run in words for people, and which shares of the whole have passed when it begins and ends.

    The shares are rough, as on a CPU: who waits wants to see that it goes on, and `seconds_left` tells the time.
    """

    words: str
    begins: float
    ends: float


STAGES: Final = {
    "decoding": Stage("reading photos", 0.0, 0.02),
    "views": Stage("making views", 0.02, 0.12),
    "training": Stage("training", 0.12, 0.94),
    "measuring and writing the encoder": Stage("measuring and writing the encoder", 0.94, 0.99),
}


class Progress:
    """`stage` in words, and `shown`, which the row keeps as `TrainingRun.progress`.

    `shown["trace"]` holds points within the epochs, for curves that grow while one looks. `before`: what was shown of
    the same run before it was interrupted, after so many finished epochs.
    """

    def __init__(self, before: Mapping[str, Any], finished_epochs: int) -> None:
        trace = [point for point in before.get("trace", []) if point["at"] <= finished_epochs]
        self.stage = ""
        self.shown: dict[str, Any] = {"share": 0.0, "trace": trace}
        self._stage = Stage("", 0.0, 0.0)

    def take(self, event: Mapping[str, Any]) -> None:
        """A "stage" or a "step"; other events change nothing."""
        if event["event"] == "stage":
            self._take_stage(event)
        elif event["event"] == "step":
            self._take_step(event)

    def count(self, words: str, done: int, of: int) -> None:
        """So many of so many are done of a stage that is not the training's own."""
        self.stage = words
        self.shown |= {"done": done, "of": of}

    def _take_stage(self, event: Mapping[str, Any]) -> None:
        stage = STAGES.get(event["what"])  # of the last stage there are parts, which have names of their own
        done, of = event.get("done"), event.get("of")
        for name in ("done", "of"):
            self.shown.pop(name, None)
        if of:
            self.shown |= {"done": done, "of": of}
        if stage is not None:
            self._stage, self.stage = stage, stage.words
            self._reach(done / of if of and done else 0.0)

    def _take_step(self, event: Mapping[str, Any]) -> None:
        self.shown |= {name: value for name, value in event.items() if name != "event"}
        at = event["epoch"] - 1 + event["step"] / event["steps"]
        point = {"at": round(at, 3)} | {name: event[name] for name in _TRACED if name in event}
        self.shown["trace"] = thinned([*self.shown["trace"], point])
        self._reach(at / event["epochs"])

    def _reach(self, share_of_stage: float) -> None:
        share = self._stage.begins + (self._stage.ends - self._stage.begins) * share_of_stage
        self.shown["share"] = round(max(share, self.shown["share"]), 4)


def thinned(points: list[T]) -> list[T]:
    """Every other point where there are too many of them; the last one stays."""
    return points if len(points) <= TRACE_POINTS else points[::-2][::-1]
