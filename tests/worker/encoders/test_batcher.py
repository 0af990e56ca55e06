"""Dynamic batching: which calls wait, which are batcher, and which get an error."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from ml.runtime.types import Outputs
from ml.vectors import Floats
from worker.encoders.batcher import DynamicBatcher

PATIENCE = 10.0


def pixels_of(*numbers: float) -> Floats:
    """Pictures of one pixel that hold these numbers."""
    return np.array(numbers, dtype=np.float32).reshape(-1, 1, 1, 1)


class Network:
    """Doubles each picture's number, returns the number as its OOD score, and blocks until `gate` opens."""

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


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def call_while_busy(network: Network, batcher: DynamicBatcher, *calls: tuple[float, ...]) -> list[Outputs | ValueError]:
    """The answers of calls that arrive one after another while the network runs the first."""

    def call(numbers: tuple[float, ...]) -> Outputs | ValueError:
        try:
            return batcher(pixels_of(*numbers))
        except ValueError as error:
            return error

    with ThreadPoolExecutor(len(calls)) as pool:
        first = pool.submit(call, calls[0])
        wait_until(lambda: bool(network.batches))
        others = []
        for place, numbers in enumerate(calls[1:], start=1):
            others.append(pool.submit(call, numbers))
            wait_until(lambda place=place: len(batcher._waiting) == place)
        network.gate.set()
        return [future.result(PATIENCE) for future in (first, *others)]


def test_a_single_call_runs_at_once_in_its_own_thread_without_a_copy() -> None:
    ran: list[tuple[int, Floats]] = []

    def forward(pixels: Floats) -> Outputs:
        ran.append((threading.get_ident(), pixels))
        return Outputs(pixels.reshape(-1, 1))

    pixels, batcher = pixels_of(1, 2), DynamicBatcher(forward, lanes=1, limit=8)
    for _ in range(3):  # the lane is free again each time
        answer = batcher(pixels)
        assert answer.outputs.tolist() == [[1], [2]]
        assert answer.ood_score is None
    assert [thread for thread, _ in ran] == 3 * [threading.get_ident()]
    assert all(given is pixels for _, given in ran)


def test_a_single_call_is_not_delayed() -> None:
    network = Network(open_at_once=True)
    batcher, took = DynamicBatcher(network, lanes=1, limit=8), {}
    for name, ask in (("batched", batcher), ("alone", network)):
        started = time.perf_counter()
        for _ in range(20):
            ask(pixels_of(1))
        took[name] = (time.perf_counter() - started) / 20
    assert took["batched"] < took["alone"] + 0.005


def test_calls_that_arrive_while_a_batch_runs_form_the_next_batch() -> None:
    network = Network()
    answers = call_while_busy(network, DynamicBatcher(network, lanes=1, limit=8), (1,), (2,), (3, 4), (5,))
    assert network.batches == [[1], [2, 3, 4, 5]]
    told = [(answer.outputs.ravel().tolist(), answer.ood_score.tolist()) for answer in answers]
    assert told == [([2], [1]), ([4], [2]), ([6, 8], [3, 4]), ([10], [5])]


def test_batches_respect_the_limit_and_the_order_of_calls() -> None:
    network = Network()
    call_while_busy(network, DynamicBatcher(network, lanes=1, limit=3), (1,), (2,), (3, 4), (5,), (6, 7, 8, 9), (10,))
    assert network.batches == [[1], [2, 3, 4], [5], [6, 7, 8, 9], [10]]


def test_an_error_fails_only_the_call_that_caused_it() -> None:
    network = Network()
    answers = call_while_busy(network, DynamicBatcher(network, lanes=1, limit=8), (1,), (2,), (-3,), (4,))
    assert [isinstance(answer, ValueError) for answer in answers] == [False, False, True, False]
    assert [answer.outputs.item() for answer in answers if isinstance(answer, Outputs)] == [2, 4, 8]
    assert network.batches == [[1], [2, -3, 4], [2], [-3], [4]]


def test_after_an_error_the_lane_is_free_again() -> None:
    batcher = DynamicBatcher(Network(open_at_once=True), lanes=1, limit=8)
    with pytest.raises(ValueError, match="below zero"):
        batcher(pixels_of(-1))
    assert batcher(pixels_of(1)).outputs.tolist() == [[2]]


def test_as_many_batches_run_at_a_time_as_there_are_lanes() -> None:
    network = Network(open_at_once=True)
    batcher = DynamicBatcher(network, lanes=2, limit=1)
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda number: batcher(pixels_of(number)).outputs.item(), range(30)))
    assert answers == [2 * number for number in range(30)]
    assert network.most_busy == 2


def test_many_threads_each_get_their_own_answer_in_fewer_batches() -> None:
    network = Network(open_at_once=True)
    batcher = DynamicBatcher(network, lanes=1, limit=4)

    def ask(thread: int) -> bool:
        numbers = [100 * thread + at for at in range(20)]
        return [batcher(pixels_of(number)).outputs.item() for number in numbers] == [2 * number for number in numbers]

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(8)))
    assert max(map(len, network.batches)) <= 4
    assert len(network.batches) < 8 * 20 / 2
    assert network.most_busy == 1
