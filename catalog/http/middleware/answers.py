"""What caches may do with an answer of the API, and answers that need not be sent again."""

from django.http import HttpRequest, HttpResponseBase
from django.middleware.http import ConditionalGetMiddleware
from django.utils.cache import patch_vary_headers

from catalog.http.rate_limits import rate_of
from catalog.http.throttles import COUNTED_AS

# A device may keep what it read, but asks each time whether it is still so. What came of an action is not kept at all.
READ = "private, no-cache"
DONE = "no-store"
SAFE = ("GET", "HEAD", "OPTIONS")
WHO_ASKS = ("Authorization", "Cookie")


class ApiAnswers(ConditionalGetMiddleware):
    """Private caching, and an ETag for every JSON that was read: `If-None-Match` saves the way of the body.

    Pages are left alone, since each carries another CSRF token; so are pictures, which have ETags of their own, and
    streams, whose end is not known.
    """

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        if not request.path_info.startswith("/api/"):
            return response
        response.setdefault("Cache-Control", READ if request.method in SAFE else DONE)
        patch_vary_headers(response, WHO_ASKS)
        _tell_rate(request, response)
        if response.streaming or "json" not in response.get("Content-Type", ""):
            return response
        return super().process_response(request, response)  # type: ignore[arg-type, no-any-return, unused-ignore]


def _tell_rate(request: HttpRequest, response: HttpResponseBase) -> None:
    """The rate that the request counted against, and what is left of it (the IETF draft's headers).

    While Redis is away nobody knows what is left.
    """
    count = request.META.get(COUNTED_AS)
    if count is None:
        return
    number, seconds = rate_of(count.scope)
    response["RateLimit-Policy"] = f'"{count.scope}";q={number};w={seconds}'
    if count.left is not None:
        response["RateLimit"] = f'"{count.scope}";r={count.left};t={count.seconds}'
