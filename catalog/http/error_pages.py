"""Errors as pages, or in the API's shape for programs."""

import sys

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext_noop

from catalog.http.error_handler import problem_json
from catalog.http.problems import BAD_REQUEST, FORBIDDEN, INTERNAL, NOT_FOUND, Problem, problem_of
from catalog.web.android import for_the_app, is_from_the_app

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
        return for_the_app(answer) if is_from_the_app(request) else answer
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
