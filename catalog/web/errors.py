"""Errors as pages, or in the API's shape for programs."""

import sys

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from catalog.api.errors import problem_json
from catalog.problems import BAD_REQUEST, FORBIDDEN, INTERNAL, NOT_FOUND, Problem, problem_of

# What people read where a program reads the status's own name.
HEADINGS = {
    400: "That did not work",
    403: "Not allowed",
    404: "Nothing here",
    411: "That did not work",
    413: "Too large",
    429: "Too much at once",
    500: "Something went wrong",
    503: "Please try again in a moment",
    507: "No room left",
}


def problem_page(request: HttpRequest, problem: Problem) -> HttpResponse:
    """What a program gets as JSON and a person as a page."""
    if request.path_info.startswith("/api/") or request.content_type == "application/json":
        return problem_json(problem)
    context = {"problem": problem, "heading": HEADINGS.get(problem.status, problem.title)}
    page = render(request, "catalog/problem.html", context, status=problem.status)
    for name, value in problem.headers.items():
        page[name] = value
    return page


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    return problem_page(request, problem_of(exception) or BAD_REQUEST)


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    return problem_page(request, FORBIDDEN)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    return problem_page(request, NOT_FOUND)


def crashed(request: HttpRequest) -> HttpResponse:
    """Django calls this while it handles the error. A database or a disk that is away is no bug, and may come back."""
    return problem_page(request, problem_of(sys.exception()) or INTERNAL)
