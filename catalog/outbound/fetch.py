"""A picture from an address that anybody may have sent. How that is safe is the matter of `catalog.outbound.client`.

A redirect is a new address and judged anew. All of them together have one deadline.
"""

import http.client
import ssl
from typing import Final
from urllib.parse import urljoin

from django.conf import settings

from catalog.errors import Refused
from catalog.outbound.client import Deadline, Place, TooMuch, asked, place_of

SECONDS: Final = 10.0  # for everything together
MAX_REDIRECTS: Final = 3

# The codes of what is refused, beside those of an address. They never change; the sentences may.
UNREACHABLE: Final = "url_unreachable"
NOT_FOUND: Final = "url_not_found"
TIMEOUT: Final = "url_timeout"
TOO_LARGE: Final = "url_too_large"

_FRAMING = 2**20  # bytes for headers and for the lengths of chunks, beside the picture itself
_MOVED = (301, 302, 303, 307, 308)
_GONE = (404, 410)
_HEADERS = {"User-Agent": "clothes-matcher", "Accept": "image/*", "Accept-Encoding": "identity", "Connection": "close"}


def fetch_picture(url: str) -> bytes:
    """What is at an address, at most `MAX_UPLOAD_MB` of it; whether that is a picture is the next one's question.

    Raises `Refused` for whatever stands in the way. Nothing is tried twice: the person waits, and may ask again.
    """
    deadline = Deadline(SECONDS)
    place = place_of(url)
    for _ in range(MAX_REDIRECTS + 1):
        answer = _ask(place, deadline)
        if isinstance(answer, bytes):
            return answer
        place = answer
    raise Refused(UNREACHABLE, "This address leads from one to the next without an end.")


def _ask(place: Place, deadline: Deadline) -> bytes | Place:
    """The body of the answer, or where else to ask."""
    try:
        with asked(place, deadline, limit=_most() + _FRAMING, headers=_HEADERS) as response:
            return _read(place, response)
    except TimeoutError:
        timeout = f"The picture did not arrive within {SECONDS:.0f} seconds."
        raise Refused(TIMEOUT, timeout, status=504) from None
    except TooMuch:
        raise _too_large() from None
    except ssl.SSLCertVerificationError:
        raise Refused(UNREACHABLE, "The server at this address cannot prove that it is the one it claims.") from None
    except (OSError, http.client.HTTPException, ValueError):
        raise _unreachable() from None


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


def _unreachable() -> Refused:
    return Refused(UNREACHABLE, "The picture could not be fetched from this address.")


def _too_large() -> Refused:
    limit = settings.MAX_UPLOAD_MB
    return Refused(TOO_LARGE, f"The picture at this address is larger than {limit} MB, the most we take.", status=413)
