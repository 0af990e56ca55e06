"""Middleware: limit on the size of a request body, and the start of the request's timing."""

import time
from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponseBase
from django.urls import reverse
from django.utils.translation import gettext as _

from catalog.http.error_pages import render_problem
from catalog.http.problems import Problem
from catalog.http.timing import STARTED

ENCODER_UPLOAD = "catalog/encoder/upload/"  # in the admin: the one page that accepts more than a photo
FORM_OVERHEAD = 1 << 16  # bytes for the headers of a form's parts


class BodySizeLimit:
    """Refuse a body larger than one photo (or, on the admin's upload page, an encoder) before it is read.

    Django itself accepts files of any size and does not measure a JSON body that is read as a stream. A body without
    Content-Length is refused too, since Django would read it as empty.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        request.META[STARTED] = time.perf_counter()
        problem = body_problem(request)
        return self.get_response(request) if problem is None else render_problem(request, problem)


def body_problem(request: HttpRequest) -> Problem | None:
    """Return why the body is refused by its headers; None if it is acceptable."""
    if not _is_charset(request.encoding):
        return Problem(400, "bad_request", "The charset of the content type is unknown.")
    length = request.META.get("CONTENT_LENGTH") or ""
    if not length:
        chunked = "HTTP_TRANSFER_ENCODING" in request.META
        return Problem(411, "length_required", "A body needs a Content-Length header.") if chunked else None
    if not (length.isascii() and length.isdigit()):
        return Problem(400, "bad_request", "Content-Length is not a number.")
    limit, detail = _limit(request)
    return None if int(length[:20]) <= limit else Problem(413, "body_too_large", detail)


def _limit(request: HttpRequest) -> tuple[int, str]:
    """Return the maximum size of the body in bytes, and the sentence for a larger one."""
    if request.path == reverse("admin:index") + ENCODER_UPLOAD:
        detail = f"The archive is larger than {settings.ENCODER_MAX_MB} MB, the maximum size."
        return (settings.ENCODER_MAX_MB << 20) + FORM_OVERHEAD, detail
    detail = _("The picture is larger than {limit} MB, the maximum size.").format(limit=settings.MAX_UPLOAD_MB)
    return settings.MAX_BODY_BYTES, detail


def _is_charset(name: str | None) -> bool:
    """Return whether the codec encodes text. Django accepts any Python codec; a form read as base64 or zip crashes."""
    try:
        "".encode(name or "utf-8")
    except (LookupError, ValueError):
        return False
    return True
