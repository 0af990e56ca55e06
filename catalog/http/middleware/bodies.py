"""The body of a request: how large it is, and how long it took to arrive."""

import time
from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponseBase
from django.urls import reverse
from django.utils.translation import gettext as _

from catalog.http.error_pages import problem_page
from catalog.http.problems import Problem
from catalog.http.timing import STARTED

ENCODER_UPLOAD = "catalog/encoder/upload/"  # in the admin: the one page that takes more than a photo
ROOM_FOR_HEADERS = 1 << 16  # of the parts of a form


class BodySizeLimit:
    """Refuses a body that is too large to hold one photo (or, where staff send one, an encoder) before it is read.

    Nothing else would: Django takes files of any size, and a JSON body that is read as a stream is not measured.
    A body without an announced length is refused as well, since Django would take it for an empty one.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        request.META[STARTED] = time.perf_counter()
        problem = body_problem(request)
        return self.get_response(request) if problem is None else problem_page(request, problem)


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
    most, detail = _limit_of(request)
    return None if int(announced[:20]) <= most else Problem(413, "body_too_large", detail)


def _limit_of(request: HttpRequest) -> tuple[int, str]:
    """The bytes that a body may have, and what is said of more."""
    if request.path == reverse("admin:index") + ENCODER_UPLOAD:
        detail = f"The archive is larger than {settings.ENCODER_MAX_MB} MB, the most we take."
        return (settings.ENCODER_MAX_MB << 20) + ROOM_FOR_HEADERS, detail
    detail = _("The picture is larger than {limit} MB, the most we take.").format(limit=settings.MAX_UPLOAD_MB)
    return settings.MAX_BODY_BYTES, detail


def _is_charset(name: str | None) -> bool:
    """Django takes every codec of Python for a charset; reading a form as base64 or zip would crash."""
    try:
        "".encode(name or "utf-8")
    except (LookupError, ValueError):
        return False
    return True
