"""Request headers `Idempotency-Key` and `Prefer: wait=N` (RFC 7240): parsing, and their OpenAPI description."""

import re

from django.conf import settings
from django.http import HttpRequest
from django.utils.translation import gettext as _
from drf_spectacular.utils import OpenApiParameter
from rest_framework.request import Request

from catalog.errors import Refused

_KEY = re.compile(r"[\x21-\x7e]{1,255}")
REPLAYED = {"Idempotency-Replayed": "true"}
PREFER = OpenApiParameter("Prefer", str, OpenApiParameter.HEADER, description="`wait=N`: wait up to N seconds.")


def idempotency_key(request: Request, *, longest: int = 255) -> str | None:
    """Return the request's `Idempotency-Key`; None without one. Raises `Refused` for an invalid key."""
    key: str | None = request.headers.get("Idempotency-Key")
    if key is not None and (not _KEY.fullmatch(key) or len(key) > longest):
        detail = _("An Idempotency-Key has 1 to {longest} visible ASCII characters.").format(longest=longest)
        raise Refused("idempotency_key_invalid", detail)
    return key


def idempotency_key_parameter(*, longest: int = 255) -> OpenApiParameter:
    """Describe the header `Idempotency-Key` of at most `longest` characters, for `extend_schema(parameters=...)`."""
    return OpenApiParameter(
        "Idempotency-Key",
        {"type": "string", "minLength": 1, "maxLength": longest, "pattern": "^[!-~]+$"},
        OpenApiParameter.HEADER,
        description="A key chosen by the client. A retry with the same key returns the query created by the first "
        "request.",
    )


def preferred_wait(request: HttpRequest) -> int:
    """Return the seconds from `Prefer: wait=N`, capped at MAX_WAIT_SECONDS; 0 when it is missing or malformed."""
    for preference in request.headers.get("Prefer", "").split(","):
        name, _, value = preference.partition(";")[0].partition("=")
        if name.strip().lower() == "wait":  # RFC 7240: the first of several counts
            value = value.strip().strip('"')
            return min(int(value[:9]), settings.MAX_WAIT_SECONDS) if value.isascii() and value.isdigit() else 0
    return 0
