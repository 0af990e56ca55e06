"""Threads that ask a network at the same time: who waits, who is joined, and who is told of an error."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from ml.runtime.types import Outputs
from ml.vectors import Floats
from worker.encoders.batcher import Joined

PATIENCE = 10.0


def pixels_of(*numbers: float) -> Floats:
    """Pictures of one pixel that hold these numbers."""
    return np.array(numbers, dtype=np.float32).reshape(-1, 1, 1, 1)


class Network:
    """Doubles each picture's number, finds it as strange as it is, and is busy until it is let go."""

    def __init__(self, *, open_at_once: bool = False) -> None:
        self.batches: list[list[float]] = []
        self.busy, self.most_busy = 0, 0
        self.gate = threading.Event()
        self._lock = threading.Lock()
        if open_at_once:
            self.gate.set()

    def __call__(self, pixels: Floats) -> Outputs:
        numbers = pixels.ravel()
        with self._lock:
            self.batches.append(numbers.tolist())
            self.busy += 1
            self.most_busy = max(self.busy, self.most_busy)
        assert self.gate.wait(PATIENCE)
        time.sleep(0.002)
        with self._lock:
            self.busy -= 1
        if (numbers < 0).any():
            raise ValueError(f"below zero: {numbers.min()}")
        return Outputs(2 * numbers[:, None], numbers.copy())


def until(look: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not look():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def asked_while_busy(network: Network, joined: Joined, *asked: tuple[float, ...]) -> list[Outputs | ValueError]:
    """What callers are answered who come one after another while the network is at the first of them."""

    def ask(numbers: tuple[float, ...]) -> Outputs | ValueError:
        try:
            return joined(pixels_of(*numbers))
        except ValueError as error:
            return error

    with ThreadPoolExecutor(len(asked)) as pool:
        first = pool.submit(ask, asked[0])
        until(lambda: bool(network.batches))
        others = []
        for place, numbers in enumerate(asked[1:], start=1):
            others.append(pool.submit(ask, numbers))
            until(lambda place=place: len(joined._waiting) == place)
        network.gate.set()
        return [future.result(PATIENCE) for future in (first, *others)]


def test_a_lonely_call_runs_at_once_in_its_own_thread_and_is_not_copied() -> None:
    ran: list[tuple[int, Floats]] = []

    def forward(pixels: Floats) -> Outputs:
        ran.append((threading.get_ident(), pixels))
        return Outputs(pixels.reshape(-1, 1))

    pixels, joined = pixels_of(1, 2), Joined(forward, lanes=1, limit=8)
    for _ in range(3):  # the lane is free again each time
        answer = joined(pixels)
        assert answer.outputs.tolist() == [[1], [2]]
        assert answer.ood_score is None
    assert [thread for thread, _ in ran] == 3 * [threading.get_ident()]
    assert all(given is pixels for _, given in ran)


def test_a_lonely_call_is_not_delayed() -> None:
    network = Network(open_at_once=True)
    joined, took = Joined(network, lanes=1, limit=8), {}
    for name, ask in (("joined", joined), ("alone", network)):
        started = time.perf_counter()
        for _ in range(20):
            ask(pixels_of(1))
        took[name] = (time.perf_counter() - started) / 20
    assert took["joined"] < took["alone"] + 0.005


def test_what_is_asked_while_one_batch_runs_is_the_next_batch() -> None:
    network = Network()
    answers = asked_while_busy(network, Joined(network, lanes=1, limit=8), (1,), (2,), (3, 4), (5,))
    assert network.batches == [[1], [2, 3, 4, 5]]
    told = [(answer.outputs.ravel().tolist(), answer.ood_score.tolist()) for answer in answers]
    assert told == [([2], [1]), ([4], [2]), ([6, 8], [3, 4]), ([10], [5])]


def test_a_batch_is_no_larger_than_the_limit_and_first_come_is_first_served() -> None:
    network = Network()
    asked_while_busy(network, Joined(network, lanes=1, limit=3), (1,), (2,), (3, 4), (5,), (6, 7, 8, 9), (10,))
    assert network.batches == [[1], [2, 3, 4], [5], [6, 7, 8, 9], [10]]


def test_an_error_is_told_to_the_one_who_caused_it_and_to_nobody_else() -> None:
    network = Network()
    answers = asked_while_busy(network, Joined(network, lanes=1, limit=8), (1,), (2,), (-3,), (4,))
    assert [isinstance(answer, ValueError) for answer in answers] == [False, False, True, False]
    assert [answer.outputs.item() for answer in answers if isinstance(answer, Outputs)] == [2, 4, 8]
    assert network.batches == [[1], [2, -3, 4], [2], [-3], [4]]


def test_after_an_error_the_lane_is_free_again() -> None:
    joined = Joined(Network(open_at_once=True), lanes=1, limit=8)
    with pytest.raises(ValueError, match="below zero"):
        joined(pixels_of(-1))
    assert joined(pixels_of(1)).outputs.tolist() == [[2]]


def test_as_many_run_at_a_time_as_there_are_lanes() -> None:
    network = Network(open_at_once=True)
    joined = Joined(network, lanes=2, limit=1)
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda number: joined(pixels_of(number)).outputs.item(), range(30)))
    assert answers == [2 * number for number in range(30)]
    assert network.most_busy == 2


def test_many_threads_each_get_their_own_answer_in_fewer_batches() -> None:
    network = Network(open_at_once=True)
    joined = Joined(network, lanes=1, limit=4)

    def ask(thread: int) -> bool:
        numbers = [100 * thread + at for at in range(20)]
        return [joined(pixels_of(number)).outputs.item() for number in numbers] == [2 * number for number in numbers]

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(8)))
    assert max(map(len, network.batches)) <= 4
    assert len(network.batches) < 8 * 20 / 2
    assert network.most_busy == 1
