"""Every error under /api/ in one shape: RFC 9457 with a stable code."""

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

from catalog.http.problems import FieldProblem, Problem, problem_of, translated
from catalog.http.throttles import count_stranger

CONTENT_TYPE = "application/problem+json"

# Some sentences repeat what was sent, and names are the sender's: an answer must not grow with a body of megabytes.
MOST_FIELDS, LONGEST_PATH, LONGEST_DETAIL = 50, 100, 500


def problem_handler(exception: Exception, context: dict[str, Any]) -> JsonResponse | None:
    """What REST framework calls for an error in a view. None, for a bug, leads to Django's handler500.

    The answer is rendered here and not by the view's renderer, which may write YAML or HTML.
    """
    headers = {}
    exception = _counted(exception, context["request"])
    if isinstance(exception, APIException):
        response = exception_handler(exception, context)
        assert response is not None  # noqa: S101 - it has an answer to each of its own exceptions
        headers = {name: response[name] for name in ("WWW-Authenticate", "Retry-After") if name in response}
    problem = problem_from(exception, headers)
    return None if problem is None else problem_json(problem)


def _counted(exception: Exception, request: Request) -> Exception:
    """Who shows no good token is refused before a view counts anything; it counts here, against the address."""
    if not isinstance(exception, (NotAuthenticated, AuthenticationFailed)):
        return exception
    count = count_stranger(request._request)
    return exception if count is None or count.passes else Throttled(count.wait)


def problem_from(exception: Exception, headers: dict[str, str] | None = None) -> Problem | None:
    """What to tell about an error of a view, with `headers` for REST framework's own. None for a bug."""
    return _api_problem(exception, headers or {}) if isinstance(exception, APIException) else problem_of(exception)


def problem_json(problem: Problem) -> JsonResponse:
    """A problem as an answer, also where REST framework is not involved: unknown routes, middleware, crashes."""
    return JsonResponse(problem.as_json(), status=problem.status, content_type=CONTENT_TYPE, headers=problem.headers)


def _api_problem(error: APIException, headers: dict[str, str]) -> Problem:
    if isinstance(error, ValidationError):
        fields = tuple(islice(_flat(error.detail), MOST_FIELDS))
        told = "; ".join(f"{field.field}: {field.detail}" if field.field else field.detail for field in fields[:3])
        return Problem(error.status_code, "invalid_input", told, errors=fields, headers=headers)
    detail = error.detail
    code = detail.code if isinstance(detail, ErrorDetail) else error.default_code
    return Problem(error.status_code, code or "error", str(detail), headers=headers)


def _flat(detail: Any, path: str = "") -> Iterator[FieldProblem]:
    """REST framework's nested lists and dictionaries as one list with paths."""
    if isinstance(detail, dict):
        for name, inner in detail.items():
            yield from _flat(inner, path if name == "non_field_errors" else f"{path}.{name}".lstrip("."))
    elif isinstance(detail, list):
        for inner in detail:
            yield from _flat(inner, path)
    else:
        told = _cut(translated(str(detail)), LONGEST_DETAIL)
        yield FieldProblem(_cut(path, LONGEST_PATH), getattr(detail, "code", "invalid"), told)


def _cut(text: str, longest: int) -> str:
    """The text, no longer than that. Halves of characters, which JSON can name but no encoding can hold, become `?`."""
    whole = text if len(text) <= longest else text[: longest - 1] + "…"
    return whole.encode(errors="replace").decode()
