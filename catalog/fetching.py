"""A picture from an address that anybody may have sent, fetched without lending them our place in the network.

Every hop is judged before a byte is sent: the scheme, the port, and each address that the name stands for. The
connection is then made to an address that was judged, so a name that changes its mind gains nothing. All of it,
redirects included, has one deadline and one limit of bytes, which are kept where the bytes arrive: below the HTTP
parser, so that no trick with lengths or chunks gets around them.
"""

import http.client
import io
import socket
import ssl
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from ipaddress import ip_address
from typing import Any, Final
from urllib.parse import urljoin, urlsplit

from django.conf import settings
from django.utils.encoding import iri_to_uri

from catalog.addresses import is_public
from catalog.errors import Refused

SECONDS: Final = 10.0  # for everything together
MAX_REDIRECTS: Final = 3
MAX_LENGTH: Final = 2000  # characters of an address; the column takes no more
PORTS: Final = (80, 443)

# The codes of what is refused. They never change; the sentences may.
INVALID: Final = "url_invalid"
FORBIDDEN: Final = "url_forbidden"
UNREACHABLE: Final = "url_unreachable"
NOT_FOUND: Final = "url_not_found"
TIMEOUT: Final = "url_timeout"
TOO_LARGE: Final = "url_too_large"

_FRAMING = 2**20  # bytes for headers and for the lengths of chunks, beside the picture itself
_TRIES = 4  # addresses of one name
_CONNECT_SECONDS = 3.0  # for one of them
_DEFAULT_PORT = {"http": 80, "https": 443}
_MOVED = (301, 302, 303, 307, 308)
_GONE = (404, 410)
_HEADERS = {"User-Agent": "clothes-matcher", "Accept": "image/*", "Accept-Encoding": "identity", "Connection": "close"}

# Looking up a name cannot be interrupted, only left behind; so it has threads of its own, and not too many.
_resolvers = ThreadPoolExecutor(8, thread_name_prefix="resolve")


@dataclass(frozen=True)
class Place:
    """Where a picture is to be had: an address of the web that is in order as far as its text goes."""

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


class _Deadline:
    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds; more than none, else `Refused`."""
        seconds = self._end - time.monotonic()
        if seconds <= 0:
            raise _timeout()
        return seconds


class _Wire(io.RawIOBase):
    """What arrives on a connection, until that is too much or too late."""

    def __init__(self, connection: socket.socket, deadline: _Deadline, limit: int) -> None:
        self._connection, self._deadline, self._left = connection, deadline, limit

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._connection.settimeout(self._deadline.left())
        count = self._connection.recv_into(buffer)
        self._left -= count
        if self._left < 0:
            raise _too_large()
        return count


class _Guarded:
    """As much of a socket as `http.client` uses, with the wire instead of its own reading."""

    def __init__(self, connection: socket.socket, wire: _Wire) -> None:
        self.sendall, self._wire = connection.sendall, wire

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(self._wire)

    def close(self) -> None:
        """Nothing: `http.client` lets go as soon as it has a file to read from; who connected closes."""


def fetch_picture(url: str) -> bytes:
    """What is at an address, at most `MAX_UPLOAD_MB` of it; whether that is a picture is the next one's question.

    Raises `Refused` for whatever stands in the way. Nothing is tried twice: the person waits, and may ask again.
    """
    deadline = _Deadline(SECONDS)
    place = place_of(url)
    for _ in range(MAX_REDIRECTS + 1):
        answer = _ask(place, deadline)
        if isinstance(answer, bytes):
            return answer
        place = answer
    raise Refused(UNREACHABLE, "This address leads from one to the next without an end.")


def place_of(url: str) -> Place:
    """The parts of an address. Refused if it cannot be one of a picture; nobody is asked."""
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
        raise Refused(FORBIDDEN, "Pictures are fetched from the ports 80 and 443 alone.")
    return place


def _plain_name(host: str) -> str:
    """A host as it is looked up: in ASCII, without the dot that ends a full name. ValueError if it cannot be one."""
    if "%" in host:  # the zone of an address, or an escape: neither stands for a server of the web
        raise ValueError
    if ":" in host:
        return str(ip_address(host))
    return host.removesuffix(".").encode("idna").decode("ascii")


def _ask(place: Place, deadline: _Deadline) -> bytes | Place:
    """The body of the answer, or where else to ask."""
    try:
        with _connected(place, deadline) as connection:
            connection.settimeout(deadline.left())
            return _read(place, _answer(place, connection, deadline))
    except TimeoutError:
        raise _timeout() from None
    except ssl.SSLCertVerificationError:
        raise Refused(UNREACHABLE, "The server at this address cannot prove that it is the one it claims.") from None
    except (OSError, http.client.HTTPException, ValueError):
        raise _unreachable() from None


def _connected(place: Place, deadline: _Deadline) -> socket.socket:
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
        except Refused:
            connection.close()
            raise
        else:
            return connection
    raise failure or OSError("no address")


def _addresses(place: Place, deadline: _Deadline) -> list[Any]:
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


def _answer(place: Place, connection: socket.socket, deadline: _Deadline) -> http.client.HTTPResponse:
    """The answer as far as its headers. No proxy, no cookie, no name of ours has a part in it."""
    wire = _Wire(connection, deadline, _most() + _FRAMING)
    client = http.client.HTTPConnection(place.host, place.port)
    client.default_port = _DEFAULT_PORT[place.scheme]  # which the header Host leaves out
    client.sock = _Guarded(connection, wire)
    client.request("GET", place.target, headers=_HEADERS)
    return client.getresponse()


def _read(place: Place, response: http.client.HTTPResponse) -> bytes | Place:
    if response.status in _MOVED and (moved := response.headers.get("Location")):
        return place_of(urljoin(place.url, moved.encode("latin-1").decode("utf-8", "replace").strip()))
    if response.status in _GONE:
        raise Refused(NOT_FOUND, "There is no picture at this address.", status=404)
    if response.status != 200:
        raise Refused(UNREACHABLE, f"The server at this address answers {response.status} instead of a picture.")
    if (response.length or 0) > _most():
        raise _too_large()
    body = response.read(_most() + 1)
    if len(body) > _most():
        raise _too_large()
    if response.length:  # less came than was announced
        raise _unreachable()
    return body


def _most() -> int:
    return settings.MAX_UPLOAD_MB * 2**20


def _invalid() -> Refused:
    return Refused(INVALID, "This is not the address of a picture on the web. It begins with https:// or http://.")


def _timeout() -> Refused:
    return Refused(TIMEOUT, f"The picture did not arrive within {SECONDS:.0f} seconds.", status=504)


def _unreachable() -> Refused:
    return Refused(UNREACHABLE, "The picture could not be fetched from this address.")


def _too_large() -> Refused:
    limit = settings.MAX_UPLOAD_MB
    return Refused(TOO_LARGE, f"The picture at this address is larger than {limit} MB, the most we take.", status=413)
