"""`Prefer: wait=N` (RFC 7240): how long the client would like to wait for an answer."""

from django.conf import settings
from django.http import HttpRequest


def preferred_wait(request: HttpRequest) -> int:
    """Seconds to wait, at most what the settings allow; 0 without a wish. Wishes that make no sense are ignored."""
    for wish in request.headers.get("Prefer", "").split(","):
        name, _, value = wish.partition(";")[0].partition("=")
        if name.strip().lower() == "wait":  # of several the first counts
            value = value.strip().strip('"')
            return min(int(value[:9]), settings.MAX_WAIT_SECONDS) if value.isascii() and value.isdigit() else 0
    return 0
