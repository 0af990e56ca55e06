"""Dynamic batching: join the calls that several threads make to one network at the same time."""

from dataclasses import dataclass, field
from threading import Event, Lock

import numpy as np

from ml.runtime.types import Forward, Outputs
from ml.vectors import Floats


@dataclass(eq=False)
class _Call:
    """The call of one thread. `batch`: the calls that this thread runs, if it leads a batch."""

    pixels: Floats
    woken: Event = field(default_factory=Event)
    batch: "list[_Call] | None" = None
    answer: Outputs | None = None
    error: BaseException | None = None


class DynamicBatcher:
    """A thread-safe `Forward`: at most `lanes` threads run `forward` at a time, on batches of at most `limit` pictures.

    A call that finds a free lane runs at once, so a single photo never waits for others. Calls that find none queue up;
    the thread that leaves a lane hands it to the first of them, which runs all that fit as one batch. There is no extra
    thread and no timer. A call with more pictures than `limit` is not divided.
    """

    def __init__(self, forward: Forward, *, lanes: int, limit: int) -> None:
        self._forward = forward
        self._limit = limit
        self._lock = Lock()
        self._free = lanes
        self._waiting: list[_Call] = []  # empty while a lane is free

    def __call__(self, pixels: Floats) -> Outputs:
        """Return the outputs of `forward` for these pictures (n, 3, h, w), or raise its error for them."""
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
        assert call.answer is not None  # noqa: S101 - the leader has set one of the two
        return call.answer

    def _lead(self, batch: list[_Call]) -> None:
        """Run `batch`, hand the lane on, and wake the other threads."""
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
            for call in batch:  # one by one, so that a bad photo fails only its own call
                self._run([call])
            return
        start = 0
        for call in batch:
            end = start + len(call.pixels)
            scores = None if answers.ood_score is None else answers.ood_score[start:end]
            call.answer, start = Outputs(answers.outputs[start:end], scores), end

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
