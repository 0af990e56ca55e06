"""REST framework exception handler: every error under /api/ in one shape, RFC 9457 with a stable code."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

from django.http import JsonResponse
from rest_framework.exceptions import (
    APIException,
    AuthenticationFailed,
    ErrorDetail,
    NotAuthenticated,
    Throttled,
    ValidationError,
)
from rest_framework.request import Request
from rest_framework.views import exception_handler

from catalog.http.problems import FieldProblem, Problem, problem_for, translate
from catalog.http.throttles import count_unauthenticated

CONTENT_TYPE = "application/problem+json"

# Sentences may quote the input, and field names come from the client: a body of megabytes must not be echoed.
MOST_FIELDS, LONGEST_PATH, LONGEST_DETAIL = 50, 100, 500


def problem_handler(exception: Exception, context: dict[str, Any]) -> JsonResponse | None:
    """Turn an exception of a view into a response. None, for a bug, leads to Django's handler500.

    The response is rendered here, not by the view's renderer, which may write YAML or HTML.
    """
    headers = {}
    exception = _throttle_unauthenticated(exception, context["request"])
    if isinstance(exception, APIException):
        response = exception_handler(exception, context)
        assert response is not None  # noqa: S101 - REST framework handles each of its own exceptions
        headers = {name: response[name] for name in ("WWW-Authenticate", "Retry-After") if name in response}
    problem = api_problem_for(exception, headers)
    return None if problem is None else problem_response(problem)


def _throttle_unauthenticated(exception: Exception, request: Request) -> Exception:
    """Count a request without a valid token, since it was refused before its view's throttle; 429 above the limit."""
    if not isinstance(exception, (NotAuthenticated, AuthenticationFailed)):
        return exception
    quota = count_unauthenticated(request._request)
    return exception if quota is None or quota.is_allowed else Throttled(quota.retry_after)


def api_problem_for(exception: Exception, headers: dict[str, str] | None = None) -> Problem | None:
    """Like `problem_for`, and also for REST framework's exceptions, which get `headers`. None for a bug."""
    return (
        _framework_problem(exception, headers or {}) if isinstance(exception, APIException) else problem_for(exception)
    )


def problem_response(problem: Problem) -> JsonResponse:
    """Render a problem as JSON; works outside of REST framework too: unknown routes, middleware, crashes."""
    return JsonResponse(problem.as_json(), status=problem.status, content_type=CONTENT_TYPE, headers=problem.headers)


def _framework_problem(error: APIException, headers: dict[str, str]) -> Problem:
    if isinstance(error, ValidationError):
        errors = tuple(islice(_field_problems(error.detail), MOST_FIELDS))
        detail = "; ".join(f"{each.field}: {each.detail}" if each.field else each.detail for each in errors[:3])
        return Problem(error.status_code, "invalid_input", detail, errors=errors, headers=headers)
    code = error.detail.code if isinstance(error.detail, ErrorDetail) else error.default_code
    return Problem(error.status_code, code or "error", str(error.detail), headers=headers)


def _field_problems(detail: Any, path: str = "") -> Iterator[FieldProblem]:
    """Flatten REST framework's nested lists and dictionaries of errors; `field` is the path."""
    if isinstance(detail, dict):
        for name, inner in detail.items():
            yield from _field_problems(inner, path if name == "non_field_errors" else f"{path}.{name}".lstrip("."))
    elif isinstance(detail, list):
        for inner in detail:
            yield from _field_problems(inner, path)
    else:
        sentence = _truncate(translate(str(detail)), LONGEST_DETAIL)
        yield FieldProblem(_truncate(path, LONGEST_PATH), getattr(detail, "code", "invalid"), sentence)


def _truncate(text: str, longest: int) -> str:
    """Cut the text to `longest` characters. Lone surrogates, which JSON allows but UTF-8 does not, become `?`."""
    cut = text if len(text) <= longest else text[: longest - 1] + "…"
    return cut.encode(errors="replace").decode()
