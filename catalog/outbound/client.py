"""HTTP client for untrusted URLs, protected against SSRF (server-side request forgery).

Scheme, port and every resolved IP address are checked before a byte is sent. The connection is then made to one of the
checked addresses (pinned, so DNS rebinding has no effect). One deadline and one byte limit cover the whole exchange;
both are enforced on the socket, below the HTTP parser, so `Content-Length` and chunk tricks cannot bypass them.
"""

import http.client
import io
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from ipaddress import ip_address
from typing import Any, Final
from urllib.parse import urlsplit

from django.conf import settings
from django.utils.encoding import iri_to_uri

from catalog.errors import Refused
from catalog.outbound.addresses import is_public

MAX_LENGTH: Final = 2000  # characters of a URL: the size of the database columns
PORTS: Final = (80, 443)

# Error codes of a rejected URL: part of the API, never changed.
INVALID: Final = "url_invalid"
FORBIDDEN: Final = "url_forbidden"

_MAX_ADDRESSES = 4  # tried per host name
_CONNECT_SECONDS = 3.0  # per address
_DEFAULT_PORT = {"http": 80, "https": 443}

# getaddrinfo cannot be interrupted, only abandoned, so DNS lookups run in a small thread pool of their own.
_resolvers = ThreadPoolExecutor(8, thread_name_prefix="resolve")


class ResponseTooLarge(Exception):
    """The server sent more bytes than the limit."""


@dataclass(frozen=True)
class ParsedUrl:
    """A syntactically valid http(s) URL. Its host has not been resolved yet."""

    url: str
    scheme: str
    host: str
    port: int
    target: str  # path and query

    @property
    def is_allowlisted(self) -> bool:
        """Whether `FETCH_PRIVATE_HOSTS` lists the host (on ports 80 and 443) or `host:port`: no IP check then."""
        allowlist = {name.lower() for name in settings.FETCH_PRIVATE_HOSTS}
        return f"{self.host}:{self.port}" in allowlist or (self.port in PORTS and self.host in allowlist)


class Deadline:
    """A point in time that several blocking calls share."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def remaining(self) -> float:
        """Return the seconds left, always above 0; raise TimeoutError when the time is over."""
        seconds = self._end - time.monotonic()
        if seconds <= 0:
            raise TimeoutError
        return seconds


class _LimitedReader(io.RawIOBase):
    """Reads from a socket; raises `ResponseTooLarge` above the byte limit and TimeoutError after the deadline."""

    def __init__(self, connection: socket.socket, deadline: Deadline, limit: int) -> None:
        self._connection, self._deadline, self._bytes_left = connection, deadline, limit

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._connection.settimeout(self._deadline.remaining())
        count = self._connection.recv_into(buffer)
        self._bytes_left -= count
        if self._bytes_left < 0:
            raise ResponseTooLarge
        return count


class _SocketAdapter:
    """The part of the socket interface that `http.client` uses, reading through a `_LimitedReader`."""

    def __init__(self, connection: socket.socket, reader: _LimitedReader) -> None:
        self.sendall, self._reader = connection.sendall, reader

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(self._reader)

    def close(self) -> None:
        """Do nothing: `http.client` closes as soon as it has the file; `open_response` closes the real socket."""


def parse_url(url: str) -> ParsedUrl:
    """Parse and validate a URL without any network access. Raises `Refused` (`url_invalid`, `url_forbidden`)."""
    if len(url) > MAX_LENGTH or not url.isprintable():
        raise _invalid()
    try:
        parts = urlsplit(url.strip())
        host, port = _ascii_host(parts.hostname or ""), parts.port
    except ValueError:  # for example no IP address in brackets, a port that is no number, a DNS label that is too long
        raise _invalid() from None
    if parts.scheme not in _DEFAULT_PORT or not host:
        raise _invalid()
    if "@" in parts.netloc:
        raise Refused(FORBIDDEN, "The address must not contain a user name or a password.")
    target = iri_to_uri((parts.path or "/") + (f"?{parts.query}" if parts.query else ""))
    parsed = ParsedUrl(parts.geturl(), parts.scheme, host, port or _DEFAULT_PORT[parts.scheme], target)
    if parsed.port not in PORTS and not parsed.is_allowlisted:
        raise Refused(FORBIDDEN, "Only the ports 80 and 443 are allowed.")
    return parsed


def _ascii_host(host: str) -> str:
    """Normalise a host for the DNS lookup: IDNA-encoded, without the trailing dot. ValueError if it is not valid."""
    if "%" in host:  # an IPv6 zone or a percent escape: neither names a public server
        raise ValueError
    if ":" in host:
        return str(ip_address(host))
    return host.removesuffix(".").encode("idna").decode("ascii")


@contextmanager
def open_response(
    url: ParsedUrl,
    deadline: Deadline,
    *,
    limit: int,
    headers: Mapping[str, str],
    method: str = "GET",
    body: bytes | None = None,
) -> Iterator[http.client.HTTPResponse]:
    """Send one request and yield the response with its headers read; read the body inside the `with` block.

    `limit`: the most bytes accepted, headers included. No proxy, cookie or redirect is used, and no host name of ours
    is sent. Raises `Refused` for a non-public address, `ResponseTooLarge`, TimeoutError; every other failure is an
    OSError, `http.client.HTTPException` or ValueError.
    """
    with _connect(url, deadline) as connection:
        connection.settimeout(deadline.remaining())
        client = http.client.HTTPConnection(url.host, url.port)
        client.default_port = _DEFAULT_PORT[url.scheme]  # the port that the Host header leaves out
        client.sock = _SocketAdapter(connection, _LimitedReader(connection, deadline, limit))
        client.request(method, url.target, body=body, headers=dict(headers))
        yield client.getresponse()


def _connect(url: ParsedUrl, deadline: Deadline) -> socket.socket:
    """Connect to the first resolved address that accepts, with TLS for https; OSError if none does."""
    failure: OSError | None = None
    for family, kind, protocol, _, address in _resolve(url, deadline)[:_MAX_ADDRESSES]:
        connection = socket.socket(family, kind, protocol)
        try:
            connection.settimeout(min(deadline.remaining(), _CONNECT_SECONDS))
            connection.connect(address)
            connection.settimeout(deadline.remaining())
            if url.scheme == "https":
                connection = _ssl_context().wrap_socket(connection, server_hostname=url.host)
        except OSError as error:
            connection.close()
            failure = error
        else:
            return connection
    raise failure or OSError("no address")


def _resolve(url: ParsedUrl, deadline: Deadline) -> list[Any]:
    """Resolve the host once, as `getaddrinfo` returns it. Refused if any address is not public."""
    lookup = _resolvers.submit(socket.getaddrinfo, url.host, url.port, type=socket.SOCK_STREAM)
    try:
        addresses = lookup.result(deadline.remaining())
    finally:
        lookup.cancel()
    if not url.is_allowlisted and not all(is_public(ip_address(entry[4][0])) for entry in addresses):
        raise Refused(FORBIDDEN, "This address is not on the public internet.")
    return list(addresses)


@cache
def _ssl_context() -> ssl.SSLContext:
    """TLS with the system's trusted certificates; `SSL_CERT_FILE` overrides them."""
    return ssl.create_default_context()


def _invalid() -> Refused:
    return Refused(INVALID, "This is not a web address. It must begin with https:// or http://.")
