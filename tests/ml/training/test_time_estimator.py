"""The estimate of the remaining time, with a time_estimator that the test sets."""

import pytest

from ml.training.loop import TimeEstimator


class ManualTime:
    """A time source that the test advances."""

    def __init__(self) -> None:
        self.at = 100.0

    def __call__(self) -> float:
        return self.at


def steps(time_estimator: TimeEstimator, now: ManualTime, last: int, seconds: float) -> None:
    for step in range(1, last + 1):
        now.at += seconds
        time_estimator.finish_step(step, 10)


def test_before_the_first_step_there_is_no_estimate():
    now = ManualTime()
    time_estimator = TimeEstimator(3, now)
    assert time_estimator.seconds_left() is None
    time_estimator.start_epoch(1)
    assert time_estimator.seconds_left() is None


def test_in_the_first_epoch_the_steps_of_all_epochs_are_counted():
    now = ManualTime()
    time_estimator = TimeEstimator(3, now)
    time_estimator.start_epoch(1)
    steps(time_estimator, now, 4, 2.0)
    assert time_estimator.seconds_left() == pytest.approx(26 * 2)


def test_later_epochs_include_the_validation_after_the_steps():
    now = ManualTime()
    time_estimator = TimeEstimator(3, now)
    time_estimator.start_epoch(1)
    steps(time_estimator, now, 10, 2.0)
    now.at += 7  # validation and pictures
    time_estimator.start_epoch(2)
    steps(time_estimator, now, 5, 1.0)
    pace = 25 / 15
    assert time_estimator.seconds_left() == pytest.approx(15 * pace + 2 * 7)


def test_a_resumed_run_counts_only_the_epochs_that_are_left():
    now = ManualTime()
    time_estimator = TimeEstimator(12, now)
    time_estimator.start_epoch(12)
    steps(time_estimator, now, 4, 1.0)
    assert time_estimator.seconds_left() == pytest.approx(6)
