"""`fetch_picture` against real servers on this machine: URLs, DNS, redirects and TLS."""

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
from catalog.outbound.client import parse_url
from catalog.outbound.fetch import fetch_picture
from tests.helpers.errors import raises_code
from tests.helpers.factories import jpeg
from tests.helpers.servers import Server, certificate, fetch_error_code, http_response, redirect


def fake_dns(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> list[str]:
    """Replace `getaddrinfo`: the nth lookup gets the nth of `answers`. Returns the list that collects the lookups."""
    lookups: list[str] = []

    def look_up(host: str, port: int, **_: Any) -> list[Any]:
        lookups.append(host)
        addresses = answers[min(len(lookups), len(answers)) - 1]
        families = [socket.AF_INET6 if ":" in address else socket.AF_INET for address in addresses]
        return [
            (family, socket.SOCK_STREAM, 6, "", (address, port))
            for family, address in zip(families, addresses, strict=True)
        ]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return lookups


# --- downloads


def test_a_picture_is_downloaded_and_the_request_reveals_nothing_about_us(serve: Callable[..., Server]) -> None:
    server = serve(http_response(jpeg()))
    assert fetch_picture(server.url("/a b/ż.jpg?size=ü#top")) == jpeg()
    lines = server.requests[0].decode().split("\r\n")
    assert lines[0] == "GET /a%20b/%C5%BC.jpg?size=%C3%BC HTTP/1.1"
    assert f"Host: localhost:{server.port}" in lines
    assert "Accept-Encoding: identity" in lines
    assert not any(line.lower().startswith(("cookie", "referer", "authorization")) for line in lines)


def test_a_chunked_body_and_one_without_a_length_are_downloaded(serve: Callable[..., Server]) -> None:
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (jpeg()[:100], jpeg()[100:])) + b"0\r\n\r\n"
    assert fetch_picture(serve(http_response(chunks, "Transfer-Encoding: chunked")).url()) == jpeg()
    assert fetch_picture(serve(b"HTTP/1.0 200 OK\r\n\r\n" + jpeg()).url()) == jpeg()


def test_proxies_of_the_environment_are_ignored(serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = serve(http_response(b"from the proxy"))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://localhost:{proxy.port}")
    monkeypatch.delenv("no_proxy", raising=False)
    assert fetch_picture(serve(http_response(jpeg())).url()) == jpeg()
    assert proxy.hits == 0


def test_the_first_resolved_address_that_accepts_is_used(
    serve: Callable[..., Server], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve(http_response(jpeg()))
    settings.FETCH_PRIVATE_HOSTS = [f"shop.test:{server.port}"]
    lookups = fake_dns(monkeypatch, ["127.0.0.9", "127.0.0.1"])
    assert fetch_picture(server.url(host="Shop.Test.")) == jpeg()
    assert lookups == ["shop.test"]
    assert f"Host: shop.test:{server.port}".encode() in server.requests[0]


# --- URLs


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
def test_an_invalid_url_is_refused(url: str) -> None:
    assert fetch_error_code(url) == "url_invalid"


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
def test_a_url_into_the_private_network_is_refused(url: str) -> None:
    assert fetch_error_code(url) in {"url_forbidden", "url_invalid"}


@given(st.text() | st.from_regex(r"https?://[^/]{0,20}(:[0-9]{0,6})?/.*", fullmatch=True))
def test_any_text_parses_or_is_refused_with_a_code(text: str) -> None:
    try:
        parsed = parse_url(text)
    except Refused as refused:
        assert refused.code in {"url_invalid", "url_forbidden"}
    else:
        assert parsed.scheme in {"http", "https"} and parsed.port in {80, 443} and parsed.host.isascii()
        assert parsed.target.isascii() and parsed.target.isprintable() and " " not in parsed.target


# --- DNS and the allowlist


def test_a_host_with_one_private_address_is_not_connected_to(
    serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve(http_response(jpeg()))
    fake_dns(monkeypatch, ["93.184.216.34", "127.0.0.1"])
    monkeypatch.setattr(client, "PORTS", (server.port,))
    assert fetch_error_code(server.url(host="half-inside.test")) == "url_forbidden"
    assert server.hits == 0


def test_dns_rebinding_has_no_effect(
    serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch, short_fetch_timeout: None
) -> None:
    server = serve(http_response(jpeg()))
    lookups = fake_dns(monkeypatch, ["192.0.1.1"], ["127.0.0.1"])  # public at the check, this machine afterwards
    monkeypatch.setattr(client, "PORTS", (server.port,))
    assert fetch_error_code(server.url(host="rebinding.test")) in {"url_timeout", "url_unreachable"}
    assert lookups == ["rebinding.test"]
    assert server.hits == 0


def test_an_unknown_host_is_unreachable() -> None:
    assert fetch_error_code("http://nobody.invalid/a.jpg") == "url_unreachable"


def test_a_dns_lookup_that_hangs_times_out(monkeypatch: pytest.MonkeyPatch, short_fetch_timeout: None) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: time.sleep(3))
    started = time.perf_counter()
    assert fetch_error_code("http://slow-name.test/") == "url_timeout"
    assert time.perf_counter() - started < 2.5


def test_an_allowlist_entry_matches_its_host_and_port_only(serve: Callable[..., Server]) -> None:
    server = serve(http_response(jpeg()))
    assert fetch_picture(server.url()) == jpeg()
    assert fetch_error_code(server.url(host="127.0.0.1")) == "url_forbidden"
    assert fetch_error_code(f"http://localhost:{server.port + 1}/") == "url_forbidden"


def test_an_allowlist_entry_without_a_port_covers_80_and_443(settings: Settings) -> None:
    settings.FETCH_PRIVATE_HOSTS = ["Shop.Internal"]
    assert parse_url("http://shop.internal/").is_allowlisted
    assert parse_url("https://SHOP.internal/").is_allowlisted
    with raises_code(Refused, "url_forbidden"):
        parse_url("http://shop.internal:8080/")
    assert not parse_url("http://not-shop.internal/").is_allowlisted


# --- redirects


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"])
def test_a_redirect_is_followed(serve: Callable[..., Server], status: str) -> None:
    there = serve(http_response(jpeg()))
    assert fetch_picture(serve(redirect(there.url(), status)).url()) == jpeg()


def test_a_redirect_may_be_relative(serve: Callable[..., Server]) -> None:
    def script(connection: socket.socket) -> None:
        first = server.hits == 1
        connection.sendall(redirect("../żupan.jpg") if first else http_response(jpeg()))

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
def test_a_redirect_target_is_checked_like_the_first_url(serve: Callable[..., Server], to: str, code: str) -> None:
    assert fetch_error_code(serve(redirect(to)).url()) == code


def test_a_redirect_to_another_port_of_this_machine_is_refused(
    serve: Callable[..., Server], settings: Settings
) -> None:
    inside = serve(http_response(b"secret"))
    outside = serve(redirect(inside.url(host="127.0.0.1")))
    settings.FETCH_PRIVATE_HOSTS = [f"localhost:{outside.port}"]
    assert fetch_error_code(outside.url()) == "url_forbidden"
    outside.does = redirect(inside.url())
    assert fetch_error_code(outside.url()) == "url_forbidden"
    assert inside.hits == 0


def test_a_redirect_loop_ends_after_three_redirects(serve: Callable[..., Server]) -> None:
    server = serve(lambda connection: connection.sendall(redirect(server.url())))
    assert fetch_error_code(server.url()) == "url_unreachable"
    assert server.hits == 4


# --- TLS


def test_a_server_needs_a_trusted_certificate_for_its_host_name(
    serve: Callable[..., Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client._ssl_context.cache_clear()
    matching, public = certificate(tmp_path, "localhost")
    mismatched, other = certificate(tmp_path, "elsewhere.test")
    named, misnamed = serve(http_response(jpeg()), tls=matching), serve(http_response(jpeg()), tls=mismatched)
    assert fetch_error_code(named.url()) == "url_unreachable"  # self-signed and not trusted
    bundle = tmp_path / "trusted.pem"
    bundle.write_bytes(public.read_bytes() + other.read_bytes())
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    client._ssl_context.cache_clear()
    assert fetch_picture(named.url()) == jpeg()
    assert fetch_error_code(misnamed.url()) == "url_unreachable"  # trusted, but for another host name
    assert fetch_error_code(serve(http_response(jpeg())).url().replace("http:", "https:")) == "url_unreachable"
    client._ssl_context.cache_clear()
