"""Joining what several threads ask of one network at the same time."""

from dataclasses import dataclass, field
from threading import Event, Lock

import numpy as np

from ml.runtime.types import Forward, Outputs
from ml.vectors import Floats


@dataclass(eq=False)
class _Call:
    """What one thread asks for. `batch`: what it is to run for itself and others, once that is its part."""

    pixels: Floats
    woken: Event = field(default_factory=Event)
    batch: "list[_Call] | None" = None
    answer: Outputs | None = None
    error: BaseException | None = None


class Joined:
    """A `Forward` for many threads, of which `lanes` at most run `forward` at a time, on `limit` pictures at most.

    A call that finds a free lane runs at once, so a lonely photo waits for nobody. Calls that find none collect, and
    whoever leaves a lane hands it to them: the first of them runs for all that fit. There is no thread and no clock.
    A call about more pictures than `limit` is not divided.
    """

    def __init__(self, forward: Forward, *, lanes: int, limit: int) -> None:
        self._forward = forward
        self._limit = limit
        self._lock = Lock()
        self._free = lanes
        self._waiting: list[_Call] = []  # empty while a lane is free

    def __call__(self, pixels: Floats) -> Outputs:
        """Return what `forward` answers about these pictures (n, 3, h, w), or raise what it raises about them."""
        call = _Call(pixels)
        with self._lock:
            if self._free:
                self._free -= 1
                call.batch = [call]
            else:
                self._waiting.append(call)
        if call.batch is None:
            call.woken.wait()
        if call.batch is not None:
            self._lead(call.batch)
        if call.error is not None:
            raise call.error
        assert call.answer is not None  # noqa: S101 - whoever led has set one of the two
        return call.answer

    def _lead(self, batch: list[_Call]) -> None:
        """Run for all of `batch`, hand the lane on, and tell the others."""
        try:
            self._run(batch)
        finally:
            self._hand_on()
            for call in batch[1:]:
                call.woken.set()

    def _run(self, batch: list[_Call]) -> None:
        try:
            answers = self._forward(np.concatenate([call.pixels for call in batch]) if batch[1:] else batch[0].pixels)
        except BaseException as error:
            if not batch[1:]:
                batch[0].error = error
                return
            for call in batch:  # each alone, so that nobody is told of what another's photo has caused
                self._run([call])
            return
        start = 0
        for call in batch:
            end = start + len(call.pixels)
            judged = None if answers.ood_score is None else answers.ood_score[start:end]
            call.answer, start = Outputs(answers.outputs[start:end], judged), end

    def _hand_on(self) -> None:
        with self._lock:
            if not self._waiting:
                self._free += 1
                return
            batch = [self._waiting.pop(0)]
            room = self._limit - len(batch[0].pixels)
            while self._waiting and (room := room - len(self._waiting[0].pixels)) >= 0:
                batch.append(self._waiting.pop(0))
        batch[0].batch = batch
        batch[0].woken.set()
