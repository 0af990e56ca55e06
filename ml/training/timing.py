"""How long a run still takes."""

import time
from collections.abc import Callable


class Clock:
    """Told when epochs begin and steps are done, it estimates the time that is left.

    An epoch takes its steps, at the mean pace of all so far, and what comes after them: validation and pictures, as
    long as they took in the epochs before. In the first one nobody knows that yet, so it counts as nothing.
    """

    def __init__(self, epochs: int, now: Callable[[], float] = time.monotonic) -> None:
        self._epochs, self._now = epochs, now
        self._epoch, self._step, self._steps = 0, 0, 0
        self._began, self._stepped = 0.0, 0.0  # the moments of the epoch's begin and of its latest step
        self._stepping, self._steps_done = 0.0, 0  # of the finished epochs
        self._after, self._epochs_done = 0.0, 0

    def epoch_begins(self, epoch: int) -> None:
        """The epoch before it, if there was one, has ended with all that belongs to it."""
        now = self._now()
        if self._step:
            self._stepping += self._stepped - self._began
            self._steps_done += self._step
            self._after += now - self._stepped
            self._epochs_done += 1
        self._epoch, self._step, self._began = epoch, 0, now

    def step_done(self, step: int, steps: int) -> None:
        """Step `step` of the `steps` of the epoch."""
        self._step, self._steps, self._stepped = step, steps, self._now()

    def seconds_left(self) -> float | None:
        """Of all epochs that are left, this one's rest included; None before the first step."""
        if not self._step:
            return None
        pace = (self._stepping + self._stepped - self._began) / (self._steps_done + self._step)
        after = self._after / max(self._epochs_done, 1)
        epochs_to_come = self._epochs - self._epoch
        steps = self._steps - self._step + epochs_to_come * self._steps
        return steps * pace + (epochs_to_come + 1) * after
