"""Errors as pages, or in the API's shape for programs."""

import json
import sys
from math import ceil
from typing import Any

from axes.models import AccessAttempt
from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from catalog.http.error_handler import problem_json
from catalog.http.problems import BAD_REQUEST, FORBIDDEN, INTERNAL, NOT_FOUND, Problem, problem_of
from catalog.http.rate_limits import client_ip

# What people read where a program reads the status's own name.
HEADINGS = {
    400: gettext_noop("That did not work"),
    403: gettext_noop("Not allowed"),
    404: gettext_noop("Nothing here"),
    411: gettext_noop("That did not work"),
    413: gettext_noop("Too large"),
    429: gettext_noop("Too much at once"),
    500: gettext_noop("Something went wrong"),
    503: gettext_noop("Please try again in a moment"),
    507: gettext_noop("No room left"),
}


def problem_page(request: HttpRequest, problem: Problem) -> HttpResponse:
    """What a program gets as JSON and a person as a page."""
    if request.path_info.startswith("/api/") or request.content_type == "application/json":
        answer = problem_json(problem)
        return as_legacy_problem(answer) if is_legacy_request(request) else answer
    context = {"problem": problem, "heading": HEADINGS.get(problem.status, problem.title)}
    page = render(request, "catalog/problem.html", context, status=problem.status)
    for name, value in problem.headers.items():
        page[name] = value
    return page


def problem_in_place(problem: Problem, place: str) -> HttpResponse:
    """The sentence alone, for a script that puts it into the element `place` instead of what it asked for."""
    plain = "text/plain; charset=utf-8"
    response = HttpResponse(problem.detail, status=problem.status, content_type=plain, headers=problem.headers)
    response["HX-Retarget"], response["HX-Reswap"] = place, "textContent"
    return response


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    return problem_page(request, problem_of(exception) or BAD_REQUEST)


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    return problem_page(request, FORBIDDEN)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    return problem_page(request, NOT_FOUND)


def crashed(request: HttpRequest) -> HttpResponse:
    """Django calls this while it handles the error. A database or a disk that is away is no bug, and may come back."""
    return problem_page(request, problem_of(sys.exception()) or INTERNAL)


def lockout_response(request: HttpRequest, answer: HttpResponse, credentials: dict[str, Any] | None) -> HttpResponse:
    """What the middleware answers instead, whichever door was tried."""
    name = (credentials or {}).get("username")
    latest = AccessAttempt.objects.filter(username=name, ip_address=client_ip(request)).first()
    ends_at = (latest.attempt_time if latest else timezone.now()) + settings.AXES_COOLOFF_TIME
    seconds = max(1, ceil((ends_at - timezone.now()).total_seconds()))
    sentence = _("Too many wrong passwords. Please try again in a quarter of an hour.")
    return problem_page(request, Problem(429, "locked_out", sentence, headers={"Retry-After": str(seconds)}))


def is_legacy_request(request: HttpRequest) -> bool:
    return request.method == "POST" and request.content_type == "application/json" and request.path_info == "/"


def as_legacy_problem(problem: JsonResponse) -> JsonResponse:
    """A problem in the API's shape, with the members that the app reads."""
    told = json.loads(problem.content)
    problem.content = json.dumps({"hello": told["detail"], "images": [], **told}).encode()
    return problem
