"""Error responses outside of REST framework: a page for people, JSON for programs; the sign-in lockout."""

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

from catalog.http.error_handler import problem_response
from catalog.http.problems import BAD_REQUEST, FORBIDDEN, INTERNAL, NOT_FOUND, Problem, problem_for
from catalog.http.rate_limits import client_ip

# Headings of the error page; the API shows the standard name of the status instead.
HEADINGS = {
    400: gettext_noop("That did not work"),
    403: gettext_noop("Not allowed"),
    404: gettext_noop("Nothing here"),
    411: gettext_noop("That did not work"),
    413: gettext_noop("Too large"),
    429: gettext_noop("Too much at once"),
    500: gettext_noop("Something went wrong"),
    503: gettext_noop("Please try again in a moment"),
    507: gettext_noop("No space left"),
}


def render_problem(request: HttpRequest, problem: Problem) -> HttpResponse:
    """Respond with JSON under /api/ and to requests in JSON, else with a page."""
    if request.path_info.startswith("/api/") or request.content_type == "application/json":
        response = problem_response(problem)
        return as_legacy_problem(response) if is_legacy_request(request) else response
    context = {"problem": problem, "heading": HEADINGS.get(problem.status, problem.title)}
    page = render(request, "catalog/problem.html", context, status=problem.status)
    for name, value in problem.headers.items():
        page[name] = value
    return page


def htmx_problem(problem: Problem, target: str) -> HttpResponse:
    """Respond with the sentence alone, which htmx puts into the element `target`, a CSS selector."""
    plain = "text/plain; charset=utf-8"
    response = HttpResponse(problem.detail, status=problem.status, content_type=plain, headers=problem.headers)
    response["HX-Retarget"], response["HX-Reswap"] = target, "textContent"
    return response


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Respond to a malformed request (handler400)."""
    return render_problem(request, problem_for(exception) or BAD_REQUEST)


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Respond to a missing permission (handler403)."""
    return render_problem(request, FORBIDDEN)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Respond to an unknown URL or row (handler404)."""
    return render_problem(request, NOT_FOUND)


def server_error(request: HttpRequest) -> HttpResponse:
    """Respond while Django handles the exception: 503 or 507 for a database or storage that fails, else 500."""
    return render_problem(request, problem_for(sys.exception()) or INTERNAL)


def lockout_response(request: HttpRequest, response: HttpResponse, credentials: dict[str, Any] | None) -> HttpResponse:
    """Replace the response to a sign-in after too many wrong passwords (setting AXES_LOCKOUT_CALLABLE).

    django-axes locks out one username from one client IP, in the API, the pages and the admin alike. `Retry-After` is
    the end of the lockout.
    """
    name = (credentials or {}).get("username")
    latest = AccessAttempt.objects.filter(username=name, ip_address=client_ip(request)).first()
    ends_at = (latest.attempt_time if latest else timezone.now()) + settings.AXES_COOLOFF_TIME
    seconds = max(1, ceil((ends_at - timezone.now()).total_seconds()))
    sentence = _("Too many wrong passwords. Please try again in a quarter of an hour.")
    return render_problem(request, Problem(429, "locked_out", sentence, headers={"Retry-After": str(seconds)}))


def is_legacy_request(request: HttpRequest) -> bool:
    """Return whether the request comes from the existing Android app (catalog.api.legacy).

    Here, not in the route, since middleware may refuse the request before it reaches the route.
    """
    return request.method == "POST" and request.content_type == "application/json" and request.path_info == "/"


def as_legacy_problem(response: JsonResponse) -> JsonResponse:
    """Add the members that the existing Android app reads to a problem: `hello` and `images`."""
    problem = json.loads(response.content)
    response.content = json.dumps({"hello": problem["detail"], "images": [], **problem}).encode()
    return response
