"""The load generator measures correctly, and the benchmark of the API runs."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from benchmarks.load import Getter, Stream, gets_per_second, highest_rate, percentile, stream
from tests.helpers.site import ROOT


def test_percentile_is_the_nearest_rank() -> None:
    values = [float(number) for number in range(100, 0, -1)]
    assert [percentile(values, percent) for percent in (50, 95, 99, 100)] == [50, 95, 99, 100]
    assert percentile([7.0], 95) == 7.0


def test_arrivals_do_not_wait_for_answers() -> None:
    active, most, lock = 0, 0, threading.Lock()

    def ask() -> None:
        nonlocal active, most
        with lock:
            active += 1
            most = max(most, active)
        time.sleep(0.5)
        with lock:
            active -= 1

    result = stream(ask, rate=40, seconds=0.5, limit=5)
    assert len(result.times) == 20 and most > 10
    assert result.has_passed and min(result.times) >= 0.5


def test_the_time_of_a_late_request_counts_from_when_it_was_due() -> None:
    lock = threading.Lock()

    def ask() -> None:
        with lock:  # a server that does one thing at a time, 20 a second
            time.sleep(0.05)

    result = stream(ask, rate=100, seconds=0.5, limit=0.3)
    assert max(result.times) > 0.5
    assert not result.has_passed


def test_a_stream_with_an_error_has_not_passed() -> None:
    def ask() -> None:
        raise ValueError("no")

    result = stream(ask, rate=100, seconds=0.05, limit=1)
    assert result.errors == ["ValueError: no"] * 5
    assert not result.has_passed
    assert result.summary()["errors"] == 5


def test_a_stream_that_lags_too_far_behind_is_aborted() -> None:
    started = time.monotonic()
    result = stream(lambda: time.sleep(0.2), rate=100, seconds=60, limit=0.01)
    assert result.was_aborted and not result.has_passed
    assert time.monotonic() - started < 10


@pytest.mark.parametrize("capacity", [0.9, 3.3, 8.0, 8.1, 50.0])
def test_the_highest_rate_is_found(capacity: float) -> None:
    def measure(rate: float) -> Stream:
        return Stream(rate, 1.0, times=[0.5 if rate <= capacity else 2.0])

    best, tried = highest_rate(measure, start=8.0)
    assert capacity * 0.9 < best <= capacity
    assert len(tried) < 12


def test_a_server_that_passes_nothing_has_the_rate_zero() -> None:
    best, tried = highest_rate(lambda rate: Stream(rate, 1.0, times=[2.0]), start=8.0)
    assert best == 0
    assert min(one.rate for one in tried) == 8 / 32


class Clerk(BaseHTTPRequestHandler):
    """Answers at a fixed pace, and hangs up after every tenth answer."""

    protocol_version = "HTTP/1.1"
    served = 0

    def do_GET(self) -> None:
        self.served += 1
        body = self.path.encode() * 20_000
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        if self.served == 10:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@pytest.fixture
def clerk() -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Clerk)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


def test_a_getter_reads_whole_bodies_and_reconnects(clerk: int) -> None:
    getter = Getter(clerk, "/seven", {})
    assert [getter.get() for _ in range(25)] == [b"/seven" * 20_000] * 25


def test_the_rate_counts_answers_within_the_time(clerk: int) -> None:
    assert gets_per_second(lambda: Getter(clerk, "/", {}), clients=2, seconds=0.5) > 1


@pytest.mark.system
def test_the_benchmark_prints_its_measurements() -> None:
    few = ["--items", "60", "--seconds", "1", "--start", "4", "--clients", "2", "--get-seconds", "0.5"]
    result = subprocess.run(
        [sys.executable, "-m", "benchmarks.api_load", *few], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout)
    assert report["phones"]["first_error"] is None
    assert report["phones"]["tried"][0]["answers"] == 4
    for figures in report["gets"].values():
        assert figures["bytes"] > 100
        assert figures["share"] == round(figures["ours_per_second"] / figures["bare_per_second"], 3) > 0
