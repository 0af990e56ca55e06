"""Speaking to a server that anybody may have named, without lending them our place in the network.

Every address is judged before a byte is sent: the scheme, the port, and each address that the name stands for. The
connection is then made to an address that was judged, so a name that changes its mind gains nothing. All of it has one
deadline and one limit of bytes, which are kept where the bytes arrive: below the HTTP parser, so that no trick with
lengths or chunks gets around them.
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

MAX_LENGTH: Final = 2000  # characters of an address; the columns take no more
PORTS: Final = (80, 443)

# The codes of an address that nobody is asked at. They never change; the sentences may.
INVALID: Final = "url_invalid"
FORBIDDEN: Final = "url_forbidden"

_TRIES = 4  # addresses of one name
_CONNECT_SECONDS = 3.0  # for one of them
_DEFAULT_PORT = {"http": 80, "https": 443}

# Looking up a name cannot be interrupted, only left behind; so it has threads of its own, and not too many.
_resolvers = ThreadPoolExecutor(8, thread_name_prefix="resolve")


class TooMuch(Exception):
    """More bytes arrived than were wanted."""


@dataclass(frozen=True)
class Place:
    """Where something is to be had: an address of the web that is in order as far as its text goes."""

    url: str
    scheme: str
    host: str
    port: int
    target: str  # path and query

    @property
    def is_ours_to_open(self) -> bool:
        """Whether the settings say that this host may be asked wherever it is: by name, or by name and port."""
        named = {name.lower() for name in settings.FETCH_PRIVATE_HOSTS}
        return f"{self.host}:{self.port}" in named or (self.port in PORTS and self.host in named)


class Deadline:
    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds; more than none, else TimeoutError."""
        seconds = self._end - time.monotonic()
        if seconds <= 0:
            raise TimeoutError
        return seconds


class _Wire(io.RawIOBase):
    """What arrives on a connection, until that is too much or too late."""

    def __init__(self, connection: socket.socket, deadline: Deadline, limit: int) -> None:
        self._connection, self._deadline, self._left = connection, deadline, limit

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._connection.settimeout(self._deadline.left())
        count = self._connection.recv_into(buffer)
        self._left -= count
        if self._left < 0:
            raise TooMuch
        return count


class _Guarded:
    """As much of a socket as `http.client` uses, with the wire instead of its own reading."""

    def __init__(self, connection: socket.socket, wire: _Wire) -> None:
        self.sendall, self._wire = connection.sendall, wire

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(self._wire)

    def close(self) -> None:
        """Nothing: `http.client` lets go as soon as it has a file to read from; who connected closes."""


def place_of(url: str) -> Place:
    """The parts of an address. Refused if nobody may be asked there; and nobody is."""
    if len(url) > MAX_LENGTH or not url.isprintable():
        raise _invalid()
    try:
        parts = urlsplit(url.strip())
        host, port = _plain_name(parts.hostname or ""), parts.port
    except ValueError:  # brackets without an address in them, a port that is no number, a label that is too long
        raise _invalid() from None
    if parts.scheme not in _DEFAULT_PORT or not host:
        raise _invalid()
    if "@" in parts.netloc:
        raise Refused(FORBIDDEN, "The address must not hold a name or a password.")
    target = iri_to_uri((parts.path or "/") + (f"?{parts.query}" if parts.query else ""))
    place = Place(parts.geturl(), parts.scheme, host, port or _DEFAULT_PORT[parts.scheme], target)
    if place.port not in PORTS and not place.is_ours_to_open:
        raise Refused(FORBIDDEN, "Of other servers only the ports 80 and 443 are used.")
    return place


def _plain_name(host: str) -> str:
    """A host as it is looked up: in ASCII, without the dot that ends a full name. ValueError if it cannot be one."""
    if "%" in host:  # the zone of an address, or an escape: neither stands for a server of the web
        raise ValueError
    if ":" in host:
        return str(ip_address(host))
    return host.removesuffix(".").encode("idna").decode("ascii")


@contextmanager
def asked(
    place: Place,
    deadline: Deadline,
    *,
    limit: int,
    headers: Mapping[str, str],
    method: str = "GET",
    body: bytes | None = None,
) -> Iterator[http.client.HTTPResponse]:
    """The answer as far as its headers; inside of the `with` block its body can be read. At most `limit` bytes come.

    No proxy, no cookie, no redirect and no name of ours has a part in it. Raises `Refused` for an address that is
    nobody's business, `TooMuch`, TimeoutError, and whatever else goes wrong on the way as OSError,
    `http.client.HTTPException` or ValueError.
    """
    with _connected(place, deadline) as connection:
        connection.settimeout(deadline.left())
        client = http.client.HTTPConnection(place.host, place.port)
        client.default_port = _DEFAULT_PORT[place.scheme]  # which the header Host leaves out
        client.sock = _Guarded(connection, _Wire(connection, deadline, limit))
        client.request(method, place.target, body=body, headers=dict(headers))
        yield client.getresponse()


def _connected(place: Place, deadline: Deadline) -> socket.socket:
    """A connection to the first address that takes it; OSError if none does."""
    failure: OSError | None = None
    for family, kind, protocol, _, address in _addresses(place, deadline)[:_TRIES]:
        connection = socket.socket(family, kind, protocol)
        try:
            connection.settimeout(min(deadline.left(), _CONNECT_SECONDS))
            connection.connect(address)
            connection.settimeout(deadline.left())
            if place.scheme == "https":
                connection = _trust().wrap_socket(connection, server_hostname=place.host)
        except OSError as error:
            connection.close()
            failure = error
        else:
            return connection
    raise failure or OSError("no address")


def _addresses(place: Place, deadline: Deadline) -> list[Any]:
    """All that the name stands for, asked once. Refused if one of them is nobody's business."""
    search = _resolvers.submit(socket.getaddrinfo, place.host, place.port, type=socket.SOCK_STREAM)
    try:
        found = search.result(deadline.left())
    finally:
        search.cancel()
    if not place.is_ours_to_open and not all(is_public(ip_address(entry[4][0])) for entry in found):
        raise Refused(FORBIDDEN, "This address is not on the open internet.")
    return list(found)


@cache
def _trust() -> ssl.SSLContext:
    """The certificates that this machine trusts; `SSL_CERT_FILE` may name others."""
    return ssl.create_default_context()


def _invalid() -> Refused:
    return Refused(INVALID, "This is not an address on the web. It begins with https:// or http://.")
