"""Download a picture from an untrusted URL. `catalog.outbound.client` does the SSRF protection.

Each redirect target is a new URL and checked like the first. One deadline covers all requests of a download.
"""

import http.client
import ssl
from typing import Final
from urllib.parse import urljoin

from django.conf import settings

from catalog.errors import Refused
from catalog.outbound.client import Deadline, ParsedUrl, ResponseTooLarge, open_response, parse_url

SECONDS: Final = 10.0  # timeout of the whole download, redirects included
MAX_REDIRECTS: Final = 3

# Error codes, in addition to those of `client`: part of the API, never changed.
UNREACHABLE: Final = "url_unreachable"
NOT_FOUND: Final = "url_not_found"
TIMEOUT: Final = "url_timeout"
TOO_LARGE: Final = "url_too_large"

_FRAMING = 2**20  # bytes allowed for headers and chunk lengths, on top of the picture
_REDIRECTS = (301, 302, 303, 307, 308)
_GONE = (404, 410)
_HEADERS = {"User-Agent": "clothes-matcher", "Accept": "image/*", "Accept-Encoding": "identity", "Connection": "close"}


def fetch_picture(url: str) -> bytes:
    """Download the body at `url`, at most `MAX_UPLOAD_MB`. The caller checks that it is a picture.

    Raises `Refused` for every failure. There are no retries: a person is waiting, and can send the request again.
    """
    deadline = Deadline(SECONDS)
    target = parse_url(url)
    for _ in range(MAX_REDIRECTS + 1):
        answer = _request(target, deadline)
        if isinstance(answer, bytes):
            return answer
        target = answer
    raise Refused(UNREACHABLE, "This address redirects too often.")


def _request(url: ParsedUrl, deadline: Deadline) -> bytes | ParsedUrl:
    """Return the body of the response, or the target of a redirect."""
    try:
        with open_response(url, deadline, limit=_max_bytes() + _FRAMING, headers=_HEADERS) as response:
            return _read(url, response)
    except TimeoutError:
        timeout = f"The picture did not arrive within {SECONDS:.0f} seconds."
        raise Refused(TIMEOUT, timeout, status=504) from None
    except ResponseTooLarge:
        raise _too_large() from None
    except ssl.SSLCertVerificationError:
        raise Refused(UNREACHABLE, "The server at this address has no valid certificate.") from None
    except (OSError, http.client.HTTPException, ValueError):
        raise _unreachable() from None


def _read(url: ParsedUrl, response: http.client.HTTPResponse) -> bytes | ParsedUrl:
    if response.status in _REDIRECTS and (location := response.headers.get("Location")):
        return parse_url(urljoin(url.url, location.encode("latin-1").decode("utf-8", "replace").strip()))
    if response.status in _GONE:
        raise Refused(NOT_FOUND, "There is no picture at this address.", status=404)
    if response.status != 200:
        raise Refused(UNREACHABLE, f"The server at this address answers {response.status} instead of a picture.")
    if (response.length or 0) > _max_bytes():
        raise _too_large()
    body = response.read(_max_bytes() + 1)
    if len(body) > _max_bytes():
        raise _too_large()
    if response.length:  # the body is shorter than its Content-Length
        raise _unreachable()
    return body


def _max_bytes() -> int:
    return settings.MAX_UPLOAD_MB * 2**20


def _unreachable() -> Refused:
    return Refused(UNREACHABLE, "The picture could not be fetched from this address.")


def _too_large() -> Refused:
    limit = settings.MAX_UPLOAD_MB
    return Refused(TOO_LARGE, f"The picture at this address is larger than {limit} MB, the maximum size.", status=413)
