"""Telling a server that anybody may have named something. How that is safe is the matter of
`catalog.outbound.client`."""

import http.client
import ssl
from collections.abc import Mapping
from typing import Final

from catalog.errors import Refused
from catalog.outbound.client import Deadline, TooMuch, asked, place_of

SECONDS: Final = 10.0  # for everything together
_ANSWER: Final = 2**16  # bytes: the status and the headers; nobody reads what comes after them
_HEADERS = {"User-Agent": "clothes-matcher", "Content-Type": "application/json", "Connection": "close"}

# The code of whatever stands in the way, but for an address that may not be asked; the sentence says more.
FAILED: Final = "webhook_failed"


def post_json(url: str, body: bytes, headers: Mapping[str, str]) -> None:
    """POST a body, once. Raises `Refused` unless the answer is a 2xx; a redirect is none and is not followed."""
    try:
        with asked(
            place_of(url),
            Deadline(SECONDS),
            limit=_ANSWER,
            headers={**_HEADERS, **headers},
            method="POST",
            body=body,
        ) as response:
            status = response.status
    except TimeoutError:
        raise Refused(FAILED, f"The server did not answer within {SECONDS:.0f} seconds.") from None
    except ssl.SSLCertVerificationError:
        raise Refused(FAILED, "The server cannot prove that it is the one it claims.") from None
    except (TooMuch, OSError, http.client.HTTPException, ValueError):
        raise Refused(FAILED, "The server could not be reached, or gave no proper answer.") from None
    if not 200 <= status < 300:
        raise Refused(FAILED, f"The server answered {status}.")
