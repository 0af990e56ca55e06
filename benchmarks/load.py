"""Load generator for a web server: a steady stream of arrivals (open loop), or clients that never pause (closed loop).

    python -m benchmarks.load PORT TOKEN PHOTO CLIENTS COUNT

sends a photo again and again from clients that never pause, each time as another file, and prints the result. It is a
process of its own that loads few modules, so that the measurement costs the machine little.
"""

import json
import os
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ABORT_FACTOR = 3.0  # times the limit: a stream that lags this far behind will not catch up


@dataclass
class Stream:
    """Result of a stream of arrivals: the time of each answer in seconds after the request was due."""

    rate: float
    limit: float  # seconds, of the 95th percentile
    times: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    was_aborted: bool = False

    @property
    def has_passed(self) -> bool:
        """Whether no request failed and the 95th percentile is within the limit."""
        return (
            not self.was_aborted and not self.errors and bool(self.times) and percentile(self.times, 95) <= self.limit
        )

    def summary(self) -> dict[str, Any]:
        """Return the rate, percentiles in ms and the number of errors as JSON."""
        measured = (50, 95, 99) if self.times else ()
        return {
            "rate": round(self.rate, 2),
            "answers": len(self.times),
            **{f"p{percent}_ms": round(percentile(self.times, percent) * 1000, 1) for percent in measured},
            "errors": len(self.errors),
            "passed": self.has_passed,
        }


def percentile(values: list[float], percent: int) -> float:
    """Return the nearest-rank percentile."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]


def stream(send: Callable[[], None], *, rate: float, seconds: float, limit: float, threads: int = 128) -> Stream:
    """Send `rate` requests a second, whether or not the earlier ones were answered (open loop).

    The time of an answer counts from the moment its request was due, not from when a thread was free: phones do not
    wait for each other, so a server that stalls delays all of them.
    """
    result = Stream(rate, limit)
    started = time.monotonic()

    def send_one(due: float) -> None:
        if result.was_aborted:
            return
        try:
            send()
        except Exception as error:
            result.errors.append(f"{type(error).__name__}: {error}"[:200])
            return
        result.times.append(time.monotonic() - due)
        if result.times[-1] > ABORT_FACTOR * limit:
            result.was_aborted = True

    with ThreadPoolExecutor(threads) as pool:
        for number in range(round(rate * seconds)):
            due = started + number / rate
            time.sleep(max(0.0, due - time.monotonic()))
            if result.was_aborted:
                break
            pool.submit(send_one, due)
    return result


def highest_rate(measure: Callable[[float], Stream], *, start: float, steps: int = 4) -> tuple[float, list[Stream]]:
    """Find the highest rate that passes, within a few per cent; return it with all measured streams.

    Doubles or halves from `start` until one rate passes and its double does not, then bisects `steps` times. 0 if not
    even a thirty-second of `start` passes.
    """
    streams = [measure(start)]
    low, high = (start, 0.0) if streams[0].has_passed else (0.0, start)
    while not high or (not low and high > start / 32):
        streams.append(measure(low * 2 or high / 2))
        low, high = (streams[-1].rate, high) if streams[-1].has_passed else (low, streams[-1].rate)
    for _ in range(steps if low else 0):
        streams.append(measure((low + high) / 2))
        low, high = (streams[-1].rate, high) if streams[-1].has_passed else (low, streams[-1].rate)
    return low, streams


class Getter:
    """Sends one GET again and again on one connection, at almost no CPU cost."""

    def __init__(self, port: int, path: str, headers: dict[str, str]) -> None:
        lines = "".join(f"{name}: {value}\r\n" for name, value in {"Host": "127.0.0.1", **headers}.items())
        self.port = port
        self.request = f"GET {path} HTTP/1.1\r\n{lines}\r\n".encode()
        self.socket: socket.socket | None = None

    def get(self) -> bytes:
        """Return the body. Reconnects after the server has closed the connection, as gunicorn does now and then."""
        connection = self.socket or socket.create_connection(("127.0.0.1", self.port), 20)
        connection.sendall(self.request)
        data = b""
        while b"\r\n\r\n" not in data:
            data += self._receive(connection)
        head, _, body = data.partition(b"\r\n\r\n")
        status, *headers = head.decode("latin-1").lower().split("\r\n")
        assert " 200 " in status, status
        fields = dict(line.split(": ", 1) for line in headers)
        while len(body) < int(fields["content-length"]):
            body += self._receive(connection)
        self.socket = None if fields.get("connection") == "close" else connection
        return body

    @staticmethod
    def _receive(connection: socket.socket) -> bytes:
        received = connection.recv(65536)
        assert received, "the server closed the connection half-way"
        return received


class PhotoSender(Getter):
    """Sends one photo again and again, each time as a new file, and waits for its ten items."""

    _BOUNDARY = b"boundary-of-the-form"

    def __init__(self, port: int, token: str, photo: bytes) -> None:
        self.photo = photo
        body = self._body()
        headers = {
            "Authorization": f"Token {token}",
            "Prefer": "wait=20",
            "Content-Type": f"multipart/form-data; boundary={self._BOUNDARY.decode()}",
            "Content-Length": str(len(body)),
        }
        super().__init__(port, "/api/v1/queries/", headers)
        self.head = self.request.replace(b"GET", b"POST", 1)

    def send(self) -> bytes:
        """Send the photo once and return the body of the answer."""
        self.request = self.head + self._body()
        return self.get()

    def _body(self) -> bytes:
        file = b'form-data; name="photo"; filename="photo.jpg"\r\nContent-Type: image/jpeg'
        parts = ((b'form-data; name="k"', b"10"), (file, with_comment(self.photo, os.urandom(16))))
        form = b"".join(b"--%b\r\nContent-Disposition: %b\r\n\r\n%b\r\n" % (self._BOUNDARY, *part) for part in parts)
        return form + b"--%b--\r\n" % self._BOUNDARY


def with_comment(jpeg: bytes, comment: bytes) -> bytes:
    """Return the same picture as another file: with a comment segment."""
    return jpeg[:2] + b"\xff\xfe" + struct.pack(">H", len(comment) + 2) + comment + jpeg[2:]


def send_photos(make_sender: Callable[[], PhotoSender], *, clients: int, count: int) -> dict[str, Any]:
    """Send `count` photos from clients that never pause; return their rate, times and CPU cost."""

    def client(number: int) -> list[float]:
        sender, times = make_sender(), []
        for _ in range(number, count, clients):
            started = time.perf_counter()
            sender.send()
            times.append((time.perf_counter() - started) * 1000)
        return times

    started = time.monotonic()
    with ThreadPoolExecutor(clients) as pool:
        times = [ms for client_times in pool.map(client, range(clients)) for ms in client_times]
    seconds, cpu = time.monotonic() - started, os.times()
    return {
        "per_second": round(count / seconds, 1),
        **{f"p{percent}_ms": round(percentile(times, percent), 1) for percent in (50, 95)},
        "client_cpu_ms": round((cpu.user + cpu.system) * 1000 / count, 2),
    }


def gets_per_second(make_getter: Callable[[], Getter], *, clients: int, seconds: float) -> float:
    """Measure the answers per second to clients that never pause."""
    starts: list[float] = []
    all_ready = threading.Barrier(clients, lambda: starts.append(time.monotonic()), timeout=60)

    def client(_: int) -> int:
        getter, count = make_getter(), 0
        getter.get()  # opens the connection
        all_ready.wait()
        while time.monotonic() < starts[0] + seconds:
            getter.get()
            count += 1
        return count

    with ThreadPoolExecutor(clients) as pool:
        total = sum(pool.map(client, range(clients)))
    return round(total / (time.monotonic() - starts[0]), 1)


def main() -> None:
    port, token, photo, clients, count = sys.argv[1:]
    content = Path(photo).read_bytes()
    result = send_photos(lambda: PhotoSender(int(port), token, content), clients=int(clients), count=int(count))
    print(json.dumps(result))


if __name__ == "__main__":
    main()
