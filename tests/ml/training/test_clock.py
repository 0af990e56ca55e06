"""The estimate, against a clock that is turned by hand."""

import pytest

from ml.training.loop import Clock


class Hand:
    """A clock that goes on when it is told to."""

    def __init__(self) -> None:
        self.at = 100.0

    def __call__(self) -> float:
        return self.at


def steps(clock: Clock, hand: Hand, last: int, seconds: float) -> None:
    for step in range(1, last + 1):
        hand.at += seconds
        clock.finish_step(step, 10)


def test_before_the_first_step_nothing_is_known():
    hand = Hand()
    clock = Clock(3, hand)
    assert clock.seconds_left() is None
    clock.start_epoch(1)
    assert clock.seconds_left() is None


def test_in_the_first_epoch_the_steps_of_all_epochs_are_counted():
    hand = Hand()
    clock = Clock(3, hand)
    clock.start_epoch(1)
    steps(clock, hand, 4, 2.0)
    assert clock.seconds_left() == pytest.approx(26 * 2)


def test_later_what_follows_the_steps_of_an_epoch_is_counted_too():
    hand = Hand()
    clock = Clock(3, hand)
    clock.start_epoch(1)
    steps(clock, hand, 10, 2.0)
    hand.at += 7  # validated and drawn
    clock.start_epoch(2)
    steps(clock, hand, 5, 1.0)
    pace = 25 / 15
    assert clock.seconds_left() == pytest.approx(15 * pace + 2 * 7)


def test_a_resumed_run_counts_only_the_epochs_that_are_left():
    hand = Hand()
    clock = Clock(12, hand)
    clock.start_epoch(12)
    steps(clock, hand, 4, 1.0)
    assert clock.seconds_left() == pytest.approx(6)
