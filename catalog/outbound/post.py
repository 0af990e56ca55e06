"""POST JSON to an untrusted URL (webhooks). `catalog.outbound.client` does the SSRF protection."""

import http.client
import ssl
from collections.abc import Mapping
from typing import Final

from catalog.errors import Refused
from catalog.outbound.client import Deadline, ResponseTooLarge, open_response, parse_url

SECONDS: Final = 10.0  # timeout of the whole request
_MAX_RESPONSE: Final = 2**16  # bytes: status and headers; the body is not read
_HEADERS = {"User-Agent": "clothes-matcher", "Content-Type": "application/json", "Connection": "close"}

# Error code of every failure except a rejected URL (`client`): part of the API, never changed.
FAILED: Final = "webhook_failed"


def post_json(url: str, body: bytes, headers: Mapping[str, str]) -> None:
    """POST `body` once. Raises `Refused` unless the status is 2xx; redirects are not followed and count as failures."""
    try:
        with open_response(
            parse_url(url),
            Deadline(SECONDS),
            limit=_MAX_RESPONSE,
            headers={**_HEADERS, **headers},
            method="POST",
            body=body,
        ) as response:
            status = response.status
    except TimeoutError:
        raise Refused(FAILED, f"The server did not answer within {SECONDS:.0f} seconds.") from None
    except ssl.SSLCertVerificationError:
        raise Refused(FAILED, "The server has no valid certificate.") from None
    except (ResponseTooLarge, OSError, http.client.HTTPException, ValueError):
        raise Refused(FAILED, "The server could not be reached, or did not answer with HTTP.") from None
    if not 200 <= status < 300:
        raise Refused(FAILED, f"The server answered {status}.")
