"""What happens to a request before any view sees it."""

import time
from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponseBase
from django.urls import reverse

from catalog.problems import Problem
from catalog.web.errors import problem_page

STARTED = "catalog.started"  # in request.META; no header can have such a name


# Our pages have no script, style or address of anybody else inside. A preview is a blob of the page's own.
CONTENT_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob:",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)


def ms_since_start(request: HttpRequest) -> float:
    """Milliseconds since the headers were there. Once the body is read: what it took to arrive."""
    started: float = request.META[STARTED]
    return (time.perf_counter() - started) * 1000


class BodySizeLimit:
    """Refuses a body that is too large to hold one photo, before a byte of it is read.

    Nothing else would: Django takes files of any size, and a JSON body that is read as a stream is not measured.
    A body without an announced length is refused as well, since Django would take it for an empty one.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        request.META[STARTED] = time.perf_counter()
        problem = body_problem(request)
        return self.get_response(request) if problem is None else problem_page(request, problem)


class ContentPolicy:
    """Tells browsers to run and load only what is ours, so that text of a catalogue could never become a script.

    The admin and the API's documentation are other people's pages, written with scripts inside.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        if not request.path.startswith((reverse("admin:index"), reverse("api:docs"))):
            response.setdefault("Content-Security-Policy", CONTENT_POLICY)
        return response


def body_problem(request: HttpRequest) -> Problem | None:
    """What is wrong with the announced size of the body, if anything."""
    if not _is_charset(request.encoding):
        return Problem(400, "bad_request", "The charset of the content type is unknown.")
    announced = request.META.get("CONTENT_LENGTH") or ""
    if not announced:
        chunked = "HTTP_TRANSFER_ENCODING" in request.META
        return Problem(411, "length_required", "Say in Content-Length how large the body is.") if chunked else None
    if not (announced.isascii() and announced.isdigit()):
        return Problem(400, "bad_request", "Content-Length is not a number.")
    if int(announced[:20]) <= settings.MAX_BODY_BYTES:
        return None
    return Problem(413, "body_too_large", f"The picture is larger than {settings.MAX_UPLOAD_MB} MB, the most we take.")


def _is_charset(name: str | None) -> bool:
    """Django takes every codec of Python for a charset; reading a form as base64 or zip would crash."""
    try:
        "".encode(name or "utf-8")
    except (LookupError, ValueError):
        return False
    return True
