"""Size and time limits of `fetch_picture`, and responses that are not a picture."""

import socket
import time
from collections.abc import Callable

import pytest
from pytest_django import Settings

from catalog.outbound.fetch import fetch_picture
from tests.helpers.factories import jpeg
from tests.helpers.servers import Script, Server, fetch_error_code, http_response, redirect

MB = 2**20
OK = b"HTTP/1.1 200 OK\r\n"


def endless(start: bytes, piece: bytes = b"x" * 65536, pause: float = 0.0) -> Script:
    def script(connection: socket.socket) -> None:
        connection.sendall(start)
        while True:
            connection.sendall(piece)
            time.sleep(pause)

    return script


@pytest.mark.parametrize(
    "start",
    [
        OK + b"\r\n",
        OK + b"Content-Length: 99999999999\r\n\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\nfffffff\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n",  # http.client reads this as "until the connection closes"
    ],
    ids=["no length", "announced", "one chunk", "a negative chunk"],
)
def test_an_endless_body_is_cut_off(serve: Callable[..., Server], settings: Settings, start: bytes) -> None:
    settings.MAX_UPLOAD_MB = 1
    assert fetch_error_code(serve(endless(start)).url()) == "url_too_large"


def test_endless_headers_are_cut_off(serve: Callable[..., Server], settings: Settings) -> None:
    settings.MAX_UPLOAD_MB = 1
    codes = {"url_too_large", "url_unreachable"}
    assert fetch_error_code(serve(endless(OK, b"X: " + b"x" * 60000 + b"\r\n")).url()) in codes
    assert fetch_error_code(serve(endless(OK, b"x" * 60000)).url()) in codes
    assert fetch_error_code(serve(endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 2000)).url()) in codes


def test_the_size_limit_is_that_of_uploads(serve: Callable[..., Server], settings: Settings) -> None:
    settings.MAX_UPLOAD_MB = 1
    assert len(fetch_picture(serve(http_response(b"x" * MB)).url())) == MB
    for headers in (["Connection: close"], ["Content-Length: 1048577"]):
        assert fetch_error_code(serve(http_response(b"x" * (MB + 1), *headers)).url()) == "url_too_large"


def test_a_body_shorter_than_its_content_length_is_refused(serve: Callable[..., Server]) -> None:
    assert fetch_error_code(serve(http_response(jpeg()[:100], "Content-Length: 500")).url()) == "url_unreachable"
    assert (
        fetch_error_code(serve(http_response(b"1ff\r\nshort", "Transfer-Encoding: chunked")).url()) == "url_unreachable"
    )


def test_a_body_longer_than_its_content_length_is_cut(serve: Callable[..., Server]) -> None:
    assert fetch_picture(serve(http_response(b"picture and more", "Content-Length: 7")).url()) == b"picture"


@pytest.mark.parametrize(
    "script",
    [
        endless(b"", b"H", 0.05),
        endless(OK + b"Content-Length: 1000\r\n\r\n", b"x", 0.05),
        lambda connection: time.sleep(3),
    ],
    ids=["head", "body", "silence"],
)
def test_a_slow_response_times_out(serve: Callable[..., Server], short_fetch_timeout: None, script: Script) -> None:
    started = time.perf_counter()
    assert fetch_error_code(serve(script).url()) == "url_timeout"
    assert 0.9 < time.perf_counter() - started < 2.5


def test_all_redirects_share_one_timeout(serve: Callable[..., Server], short_fetch_timeout: None) -> None:
    def script(connection: socket.socket) -> None:
        time.sleep(0.4)
        connection.sendall(redirect(server.url()))

    server = serve(script)
    assert fetch_error_code(server.url()) == "url_timeout"


@pytest.mark.parametrize(
    ("response", "code"),
    [
        (http_response(b"", status="404 Not Found"), "url_not_found"),
        (http_response(b"", status="410 Gone"), "url_not_found"),
        (http_response(b"", status="403 Forbidden"), "url_unreachable"),
        (http_response(b"", status="500 Oops"), "url_unreachable"),
        (http_response(b"", status="302 Found"), "url_unreachable"),
        (http_response(b"", status="204 No Content"), "url_unreachable"),
        (http_response(jpeg(), status="206 Partial Content"), "url_unreachable"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "url_unreachable"),
        (b"\0" * 100, "url_unreachable"),
        (b"HTTP/1.1 2OO OK\r\n\r\n", "url_unreachable"),
        (b"", "url_unreachable"),
        (redirect("http://\xff\xfe"), "url_unreachable"),
    ],
)
def test_every_other_response_has_an_error_code(serve: Callable[..., Server], response: bytes, code: str) -> None:
    assert fetch_error_code(serve(response).url()) in {code, "url_invalid"}


def test_a_closed_port_is_unreachable(serve: Callable[..., Server]) -> None:
    server = serve(b"")
    server.close()
    assert fetch_error_code(server.url()) == "url_unreachable"


def test_a_tls_handshake_that_hangs_times_out(serve: Callable[..., Server], short_fetch_timeout: None) -> None:
    server = serve(lambda connection: time.sleep(3))
    started = time.perf_counter()
    assert fetch_error_code(server.url().replace("http:", "https:")) == "url_timeout"
    assert time.perf_counter() - started < 2.5
