"""Load for a web server, from threads of this process: a steady stream of arrivals, or clients that never pause.

    python -m benchmarks.load PORT TOKEN PHOTO CLIENTS COUNT

sends a photo again and again from clients that never pause, each time as another file, and prints what came of it. It
is a process of its own that loads next to nothing, so that little of the machine goes to the one who measures.
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

GIVE_UP = 3.0  # times the limit: a stream that lags so far behind its clock is not going to catch up


@dataclass
class Stream:
    """What became of a stream of arrivals: the time of each answer, in seconds after the moment it was due."""

    rate: float
    limit: float  # seconds that 95 of 100 answers may take
    times: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    hopeless: bool = False  # broken off

    @property
    def passed(self) -> bool:
        return not self.hopeless and not self.errors and bool(self.times) and percentile(self.times, 95) <= self.limit

    def summary(self) -> dict[str, Any]:
        measured = (50, 95, 99) if self.times else ()
        return {
            "rate": round(self.rate, 2),
            "answers": len(self.times),
            **{f"p{percent}_ms": round(percentile(self.times, percent) * 1000, 1) for percent in measured},
            "errors": len(self.errors),
            "passed": self.passed,
        }


def percentile(values: list[float], percent: int) -> float:
    """The smallest value that so many of 100 do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]


def stream(ask: Callable[[], None], *, rate: float, seconds: float, limit: float, threads: int = 128) -> Stream:
    """`rate` arrivals a second, whether or not the earlier ones were answered.

    An answer's time counts from the moment its request was due, not from when a thread was free to send it: phones do
    not wait for each other, so a server that stalls makes all of them late.
    """
    result = Stream(rate, limit)
    started = time.monotonic()

    def one(due: float) -> None:
        if result.hopeless:
            return
        try:
            ask()
        except Exception as error:
            result.errors.append(f"{type(error).__name__}: {error}"[:200])
            return
        result.times.append(time.monotonic() - due)
        if result.times[-1] > GIVE_UP * limit:
            result.hopeless = True

    with ThreadPoolExecutor(threads) as pool:
        for number in range(round(rate * seconds)):
            due = started + number / rate
            time.sleep(max(0.0, due - time.monotonic()))
            if result.hopeless:
                break
            pool.submit(one, due)
    return result


def highest_rate(measure: Callable[[float], Stream], *, start: float, steps: int = 4) -> tuple[float, list[Stream]]:
    """The highest rate that passes, within a few per cent, and everything that was measured on the way.

    It doubles or halves from `start` until one rate passes and its double does not, then halves the gap `steps` times.
    0 if not even a thirty-second of `start` passes.
    """
    tried = [measure(start)]
    low, high = (start, 0.0) if tried[0].passed else (0.0, start)
    while not high or (not low and high > start / 32):
        tried.append(measure(low * 2 or high / 2))
        low, high = (tried[-1].rate, high) if tried[-1].passed else (low, tried[-1].rate)
    for _ in range(steps if low else 0):
        tried.append(measure((low + high) / 2))
        low, high = (tried[-1].rate, high) if tried[-1].passed else (low, tried[-1].rate)
    return low, tried


class Getter:
    """Sends one GET again and again on one connection, at almost no cost to the machine it shares with the server."""

    def __init__(self, port: int, path: str, headers: dict[str, str]) -> None:
        lines = "".join(f"{name}: {value}\r\n" for name, value in {"Host": "127.0.0.1", **headers}.items())
        self.port = port
        self.request = f"GET {path} HTTP/1.1\r\n{lines}\r\n".encode()
        self.socket: socket.socket | None = None

    def get(self) -> bytes:
        """The body. The server closes the connection now and then, as gunicorn does with a worker that it replaces."""
        connection = self.socket or socket.create_connection(("127.0.0.1", self.port), 20)
        connection.sendall(self.request)
        data = b""
        while b"\r\n\r\n" not in data:
            data += self._more(connection)
        head, _, body = data.partition(b"\r\n\r\n")
        status, *headers = head.decode("latin-1").lower().split("\r\n")
        assert " 200 " in status, status
        fields = dict(line.split(": ", 1) for line in headers)
        while len(body) < int(fields["content-length"]):
            body += self._more(connection)
        self.socket = None if fields.get("connection") == "close" else connection
        return body

    @staticmethod
    def _more(connection: socket.socket) -> bytes:
        received = connection.recv(65536)
        assert received, "the server closed the connection half-way"
        return received


class PhotoSender(Getter):
    """Sends one photo again and again, each time as a file that nobody has seen, and waits for its ten items."""

    _MARK = b"where-the-parts-of-a-form-meet"

    def __init__(self, port: int, token: str, photo: bytes) -> None:
        self.photo = photo
        body = self._body()
        headers = {
            "Authorization": f"Token {token}",
            "Prefer": "wait=20",
            "Content-Type": f"multipart/form-data; boundary={self._MARK.decode()}",
            "Content-Length": str(len(body)),
        }
        super().__init__(port, "/api/v1/queries/", headers)
        self.head = self.request.replace(b"GET", b"POST", 1)

    def send(self) -> bytes:
        self.request = self.head + self._body()
        return self.get()

    def _body(self) -> bytes:
        file = b'form-data; name="photo"; filename="photo.jpg"\r\nContent-Type: image/jpeg'
        parts = ((b'form-data; name="k"', b"10"), (file, with_comment(self.photo, os.urandom(16))))
        form = b"".join(b"--%b\r\nContent-Disposition: %b\r\n\r\n%b\r\n" % (self._MARK, *part) for part in parts)
        return form + b"--%b--\r\n" % self._MARK


def with_comment(jpeg: bytes, comment: bytes) -> bytes:
    """The same picture in another file."""
    return jpeg[:2] + b"\xff\xfe" + struct.pack(">H", len(comment) + 2) + comment + jpeg[2:]


def send_photos(make: Callable[[], PhotoSender], *, clients: int, count: int) -> dict[str, Any]:
    """What it took to have `count` photos answered, by clients that send again as soon as they are answered."""

    def client(number: int) -> list[float]:
        sender, times = make(), []
        for _ in range(number, count, clients):
            started = time.perf_counter()
            sender.send()
            times.append((time.perf_counter() - started) * 1000)
        return times

    started = time.monotonic()
    with ThreadPoolExecutor(clients) as pool:
        times = [taken for some in pool.map(client, range(clients)) for taken in some]
    seconds, used = time.monotonic() - started, os.times()
    return {
        "per_second": round(count / seconds, 1),
        **{f"p{percent}_ms": round(percentile(times, percent), 1) for percent in (50, 95)},
        "client_cpu_ms": round((used.user + used.system) * 1000 / count, 2),
    }


def gets_per_second(make: Callable[[], Getter], *, clients: int, seconds: float) -> float:
    """The answers per second to clients that ask again as soon as they are answered."""
    starts: list[float] = []
    all_ready = threading.Barrier(clients, lambda: starts.append(time.monotonic()), timeout=60)

    def client(_: int) -> int:
        getter, count = make(), 0
        getter.get()  # the first one makes the connection
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
    made = send_photos(lambda: PhotoSender(int(port), token, content), clients=int(clients), count=int(count))
    print(json.dumps(made))


if __name__ == "__main__":
    main()
