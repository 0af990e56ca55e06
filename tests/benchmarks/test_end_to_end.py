"""The photo client sends what the API accepts; the cost of processes is measured."""

import io
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import pytest
from PIL import Image

from benchmarks.load import PhotoSender, send_photos, with_comment
from benchmarks.processes import cpu_seconds, memory_mb
from tests.helpers.factories import jpeg


class Taker(BaseHTTPRequestHandler):
    """Answers each photo with `{}`, and keeps what came."""

    protocol_version = "HTTP/1.1"
    taken: ClassVar[list[tuple[dict[str, str], bytes]]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.taken.append((dict(self.headers), body))
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def port() -> Iterator[int]:
    Taker.taken.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Taker)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server.server_port
    server.shutdown()
    server.server_close()


def form_of(headers: dict[str, str], body: bytes) -> dict[str, bytes]:
    head = f"Content-Type: {headers['Content-Type']}\r\n\r\n".encode()
    parts: Any = BytesParser().parsebytes(head + body).get_payload()
    return {part.get_param("name", header="Content-Disposition"): part.get_payload(decode=True) for part in parts}


def test_each_sent_photo_is_another_file_with_the_same_picture(port: int) -> None:
    sender = PhotoSender(port, "secret", jpeg("teal"))
    assert [sender.send() for _ in range(2)] == [b"{}", b"{}"]
    forms = [form_of(*taken) for taken in Taker.taken]
    assert [form["k"] for form in forms] == [b"10", b"10"]
    first, second = (Image.open(io.BytesIO(form["photo"])) for form in forms)
    assert forms[0]["photo"] != forms[1]["photo"]
    assert first.tobytes() == second.tobytes() == Image.open(io.BytesIO(jpeg("teal"))).tobytes()
    assert Taker.taken[0][0]["Authorization"] == "Token secret"
    assert Taker.taken[0][0]["Prefer"] == "wait=20"


def test_clients_share_the_photos_to_send(port: int) -> None:
    told = send_photos(lambda: PhotoSender(port, "secret", jpeg()), clients=3, count=10)
    assert len(Taker.taken) == 10
    assert told["per_second"] > 0 and 0 < told["p50_ms"] <= told["p95_ms"]


def test_a_comment_leaves_the_picture_as_it_is() -> None:
    assert Image.open(io.BytesIO(with_comment(jpeg(), b"any"))).tobytes() == Image.open(io.BytesIO(jpeg())).tobytes()


@pytest.mark.skipif(sys.platform != "linux", reason="read from /proc")
def test_the_cost_of_a_session_is_that_of_its_processes() -> None:
    busy = "x = bytearray(64 << 20); x[::4096] = b'1' * len(x[::4096])\nwhile True: pass"
    process = subprocess.Popen([sys.executable, "-c", busy], start_new_session=True)
    try:
        deadline = time.monotonic() + 20
        while cpu_seconds(process.pid) < 0.4 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert cpu_seconds(process.pid) >= 0.4
        assert 64 <= memory_mb(process.pid) < 200
        assert cpu_seconds(os.getpid() + 10**6) == 0
    finally:
        process.kill()
        process.wait()
