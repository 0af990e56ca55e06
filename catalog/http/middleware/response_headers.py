"""Middleware: Cache-Control, ETag and RateLimit headers of API responses."""

from django.http import HttpRequest, HttpResponseBase
from django.middleware.http import ConditionalGetMiddleware
from django.utils.cache import patch_vary_headers

from catalog.http.rate_limits import rate_limit
from catalog.http.throttles import QUOTA

REVALIDATE = "private, no-cache"  # a device may store what it read, but revalidates it before each use
NO_STORE = "no-store"  # responses to unsafe requests
SAFE = ("GET", "HEAD", "OPTIONS")
CREDENTIALS = ("Authorization", "Cookie")


class ApiResponseHeaders(ConditionalGetMiddleware):
    """Private caching and an ETag for every JSON response to a GET: `If-None-Match` saves sending the body again.

    Excluded: pages, whose CSRF token differs each time; pictures, which have ETags of their own; streams, whose end is
    unknown.
    """

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        """Set the headers of a response below /api/; 304 if the client has the same version."""
        if not request.path_info.startswith("/api/"):
            return response
        response.setdefault("Cache-Control", REVALIDATE if request.method in SAFE else NO_STORE)
        patch_vary_headers(response, CREDENTIALS)
        _add_rate_limit(request, response)
        if response.streaming or "json" not in response.get("Content-Type", ""):
            return response
        return super().process_response(request, response)  # type: ignore[arg-type, no-any-return, unused-ignore]


def _add_rate_limit(request: HttpRequest, response: HttpResponseBase) -> None:
    """Add the limit of the request's scope and the remaining quota (IETF draft "RateLimit header fields for HTTP").

    Without `RateLimit` while Redis is unavailable.
    """
    quota = request.META.get(QUOTA)
    if quota is None:
        return
    number, seconds = rate_limit(quota.scope)
    response["RateLimit-Policy"] = f'"{quota.scope}";q={number};w={seconds}'
    if quota.remaining is not None:
        response["RateLimit"] = f'"{quota.scope}";r={quota.remaining};t={quota.reset_seconds}'
