"""Fetching from real servers on this machine, each with bad manners of its own."""

import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest_django import Settings

from catalog.errors import Refused
from catalog.outbound import client
from catalog.outbound.client import place_of
from catalog.outbound.fetch import fetch_picture
from tests.helpers.factories import jpeg
from tests.helpers.servers import Server, answer, certificate, moved, refusal


def resolver(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> list[str]:
    """Names stand for what a test says, another answer each time; the list of what was asked."""
    asked: list[str] = []

    def look_up(host: str, port: int, **_: Any) -> list[Any]:
        asked.append(host)
        addresses = answers[min(len(asked), len(answers)) - 1]
        families = [socket.AF_INET6 if ":" in address else socket.AF_INET for address in addresses]
        return [
            (family, socket.SOCK_STREAM, 6, "", (address, port))
            for family, address in zip(families, addresses, strict=True)
        ]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return asked


# --- what is fetched


def test_a_picture_is_fetched_whole_and_little_is_told_about_us(serve: Callable[..., Server]) -> None:
    server = serve(answer(jpeg()))
    assert fetch_picture(server.url("/a b/ż.jpg?size=ü#top")) == jpeg()
    lines = server.requests[0].decode().split("\r\n")
    assert lines[0] == "GET /a%20b/%C5%BC.jpg?size=%C3%BC HTTP/1.1"
    assert f"Host: localhost:{server.port}" in lines
    assert "Accept-Encoding: identity" in lines
    assert not any(line.lower().startswith(("cookie", "referer", "authorization")) for line in lines)


def test_a_picture_may_come_in_chunks_and_without_a_length(serve: Callable[..., Server]) -> None:
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (jpeg()[:100], jpeg()[100:])) + b"0\r\n\r\n"
    assert fetch_picture(serve(answer(chunks, "Transfer-Encoding: chunked")).url()) == jpeg()
    assert fetch_picture(serve(b"HTTP/1.0 200 OK\r\n\r\n" + jpeg()).url()) == jpeg()


def test_no_proxy_of_the_environment_is_asked(serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = serve(answer(b"from the proxy"))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://localhost:{proxy.port}")
    monkeypatch.delenv("no_proxy", raising=False)
    assert fetch_picture(serve(answer(jpeg())).url()) == jpeg()
    assert proxy.hits == 0


def test_of_several_addresses_the_first_that_answers_is_taken(
    serve: Callable[..., Server], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve(answer(jpeg()))
    settings.FETCH_PRIVATE_HOSTS = [f"shop.test:{server.port}"]
    asked = resolver(monkeypatch, ["127.0.0.9", "127.0.0.1"])
    assert fetch_picture(server.url(host="Shop.Test.")) == jpeg()
    assert asked == ["shop.test"]
    assert f"Host: shop.test:{server.port}".encode() in server.requests[0]


# --- what is not an address of a picture


@pytest.mark.parametrize(
    "url",
    [
        "",
        "shirt.jpg",
        "//example.com/a.jpg",
        "ftp://example.com/a.jpg",
        "file:///etc/passwd",
        "data:image/png;base64,AAAA",
        "javascript:alert(1)",
        "gopher://example.com/",
        "http://",
        "http:///a.jpg",
        "https://[::1/a.jpg",
        "https://[nonsense]/a.jpg",
        "https://example.com:port/a.jpg",
        "https://example.com:99999/a.jpg",
        "https://exam\nple.com/a.jpg",
        "https://example.com/\r\nHost: elsewhere",
        "https://example.com/\0",
        "https://a..b/",
        f"https://{'a' * 64}.com/",
        f"https://example.com/{'a' * 2000}",
    ],
)
def test_what_is_no_address_of_the_web_is_refused(url: str) -> None:
    assert refusal(url) == "url_invalid"


@pytest.mark.parametrize(
    "url",
    [
        "https://user:secret@example.com/",
        "https://user@example.com/",
        "https://@example.com/",
        "http://example.com\\@127.0.0.1/",
        "http://example.com:22/",
        "http://example.com:6379/",
        "https://example.com:8443/",
        "http://127.0.0.1/",
        "http://127.1/",
        "http://2130706433/",
        "http://0x7f000001/",
        "http://017700000001/",
        "http://0/",
        "http://localhost/",
        "http://LOCALHOST./",
        "http://[::1]/",
        "http://[::ffff:127.0.0.1]/",
        "http://[::ffff:7f00:1]/",
        "http://[64:ff9b::7f00:1]/",
        "http://[fe80::1%25lo]/",
        "http://169.254.169.254/latest/meta-data/",
        "https://10.0.0.1/",
        "http://①②⑦.0.0.1/",
    ],
)
def test_what_leads_inside_is_refused(url: str) -> None:
    assert refusal(url) in {"url_forbidden", "url_invalid"}


@given(st.text() | st.from_regex(r"https?://[^/]{0,20}(:[0-9]{0,6})?/.*", fullmatch=True))
def test_any_text_is_an_address_or_refused(text: str) -> None:
    try:
        place = place_of(text)
    except Refused as refused:
        assert refused.code in {"url_invalid", "url_forbidden"}
    else:
        assert place.scheme in {"http", "https"} and place.port in {80, 443} and place.host.isascii()
        assert place.target.isascii() and place.target.isprintable() and " " not in place.target


# --- who is asked


def test_a_name_with_one_address_inside_is_not_asked_at_all(
    serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve(answer(jpeg()))
    resolver(monkeypatch, ["93.184.216.34", "127.0.0.1"])
    monkeypatch.setattr(client, "PORTS", (server.port,))
    assert refusal(server.url(host="half-inside.test")) == "url_forbidden"
    assert server.hits == 0


def test_a_name_that_changes_its_mind_gains_nothing(
    serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch, short_of_time: None
) -> None:
    server = serve(answer(jpeg()))
    asked = resolver(monkeypatch, ["192.0.1.1"], ["127.0.0.1"])  # public when it is judged, this machine afterwards
    monkeypatch.setattr(client, "PORTS", (server.port,))
    assert refusal(server.url(host="rebinding.test")) in {"url_timeout", "url_unreachable"}
    assert asked == ["rebinding.test"]
    assert server.hits == 0


def test_a_name_that_nobody_knows_is_unreachable() -> None:
    assert refusal("http://nobody.invalid/a.jpg") == "url_unreachable"


def test_a_look_up_that_never_ends_is_left_behind(monkeypatch: pytest.MonkeyPatch, short_of_time: None) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: time.sleep(3))
    started = time.perf_counter()
    assert refusal("http://slow-name.test/") == "url_timeout"
    assert time.perf_counter() - started < 2.5


def test_a_trusted_host_is_trusted_by_its_name_and_port_alone(serve: Callable[..., Server]) -> None:
    server = serve(answer(jpeg()))
    assert fetch_picture(server.url()) == jpeg()
    assert refusal(server.url(host="127.0.0.1")) == "url_forbidden"
    assert refusal(f"http://localhost:{server.port + 1}/") == "url_forbidden"


def test_a_host_that_is_trusted_without_a_port_is_so_at_the_usual_ones(settings: Settings) -> None:
    settings.FETCH_PRIVATE_HOSTS = ["Shop.Internal"]
    assert place_of("http://shop.internal/").is_ours_to_open
    assert place_of("https://SHOP.internal/").is_ours_to_open
    with pytest.raises(Refused):
        place_of("http://shop.internal:8080/")
    assert not place_of("http://not-shop.internal/").is_ours_to_open


# --- where it leads


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"])
def test_a_redirect_is_followed(serve: Callable[..., Server], status: str) -> None:
    there = serve(answer(jpeg()))
    assert fetch_picture(serve(moved(there.url(), status)).url()) == jpeg()


def test_a_redirect_may_be_relative(serve: Callable[..., Server]) -> None:
    def script(connection: socket.socket) -> None:
        first = server.hits == 1
        connection.sendall(moved("../żupan.jpg") if first else answer(jpeg()))

    server = serve(script)
    assert fetch_picture(server.url("/new/shirt.jpg")) == jpeg()
    assert server.requests[1].startswith(b"GET /%C5%BCupan.jpg HTTP/1.1")


@pytest.mark.parametrize(
    ("to", "code"),
    [
        ("http://127.0.0.1/", "url_forbidden"),
        ("http://localhost/", "url_forbidden"),
        ("http://169.254.169.254/latest/meta-data/", "url_forbidden"),
        ("http://[::1]/", "url_forbidden"),
        ("http://example.com:22/", "url_forbidden"),
        ("http://name:secret@example.com/", "url_forbidden"),
        ("file:///etc/passwd", "url_invalid"),
        ("gopher://127.0.0.1/", "url_invalid"),
        ("//[broken/", "url_unreachable"),
    ],
)
def test_a_redirect_is_judged_like_the_first_address(serve: Callable[..., Server], to: str, code: str) -> None:
    assert refusal(serve(moved(to)).url()) == code


def test_a_redirect_to_another_port_of_this_machine_reaches_nobody(
    serve: Callable[..., Server], settings: Settings
) -> None:
    inside = serve(answer(b"secret"))
    outside = serve(moved(inside.url(host="127.0.0.1")))
    settings.FETCH_PRIVATE_HOSTS = [f"localhost:{outside.port}"]
    assert refusal(outside.url()) == "url_forbidden"
    outside.does = moved(inside.url())
    assert refusal(outside.url()) == "url_forbidden"
    assert inside.hits == 0


def test_a_circle_of_redirects_ends_after_three(serve: Callable[..., Server]) -> None:
    server = serve(lambda connection: connection.sendall(moved(server.url())))
    assert refusal(server.url()) == "url_unreachable"
    assert server.hits == 4


# --- TLS


def test_a_server_must_prove_its_name(
    serve: Callable[..., Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client._trust.cache_clear()
    right, public = certificate(tmp_path, "localhost")
    wrong, other = certificate(tmp_path, "elsewhere.test")
    known, unknown = serve(answer(jpeg()), tls=right), serve(answer(jpeg()), tls=wrong)
    assert refusal(known.url()) == "url_unreachable"  # signed by nobody we know
    bundle = tmp_path / "trusted.pem"
    bundle.write_bytes(public.read_bytes() + other.read_bytes())
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    client._trust.cache_clear()
    assert fetch_picture(known.url()) == jpeg()
    assert refusal(unknown.url()) == "url_unreachable"  # known, but by another name
    assert refusal(serve(answer(jpeg())).url().replace("http:", "https:")) == "url_unreachable"
    client._trust.cache_clear()
