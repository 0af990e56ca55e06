"""What went wrong with a request, as a status, a code for machines and a sentence for people.

One vocabulary for the API, which shows it as JSON, and for the pages, which show the sentence.
"""

import errno
import logging
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from django.core.exceptions import (
    BadRequest,
    PermissionDenied,
    RequestDataTooBig,
    SuspiciousOperation,
)
from django.db import DatabaseError, IntegrityError, InterfaceError, OperationalError
from django.http import Http404
from django.http.multipartparser import MultiPartParserError
from django.http.request import UnreadablePostError
from django.utils.translation import get_language, gettext, gettext_noop, ngettext_lazy

from catalog.errors import Refused
from catalog.http.request_ids import request_id

FULL_DISK = (errno.ENOSPC, errno.EDQUOT)
STORAGE_PACKAGES = ("botocore", "boto3", "s3transfer")  # by name: a site on a local disk never loads them
RETRY_SECONDS = 2

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class FieldProblem:
    """What is wrong with one field; `field` is a path such as `filters.min_price`."""

    field: str
    code: str
    detail: str


@dataclass(frozen=True)
class Problem:
    """The answer to a request that cannot be fulfilled (RFC 9457). Codes are stable, sentences may change."""

    status: int
    code: str
    detail: str
    errors: tuple[FieldProblem, ...] = ()
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def title(self) -> str:
        return HTTPStatus(self.status).phrase

    def as_json(self) -> dict[str, Any]:
        return {
            "type": "about:blank",  # RFC 9457: the title is the status's own name, `code` says more
            "title": self.title,
            "status": self.status,
            "detail": translated(self.detail),
            "code": self.code,
            "errors": [vars(error) for error in self.errors],
            "request_id": request_id(),
        }


BAD_REQUEST = Problem(400, "bad_request", "The request could not be understood.")
FORBIDDEN = Problem(403, "permission_denied", "You may not do this.")
NOT_FOUND = Problem(404, "not_found", "There is nothing at this address, or it is not yours.")
BROKEN_BODY = Problem(400, "parse_error", "The body is broken or ended early.")
TOO_LARGE = Problem(413, "body_too_large", "The request is larger than we take.")
INTERNAL = Problem(500, "internal_error", "Something on our side went wrong. It has been noted.")
STORAGE_FULL = Problem(507, "storage_full", "There is no room left for pictures here. Please try again later.")
STORAGE_AWAY = Problem(
    503,
    "storage_unavailable",
    "The pictures cannot be reached right now. Please try again in a moment.",
    headers={"Retry-After": str(RETRY_SECONDS)},
)
DATABASE_AWAY = Problem(
    503,
    "database_unavailable",
    "We are too busy right now. Please try again in a moment.",
    headers={"Retry-After": str(RETRY_SECONDS)},
)

# What a worker tells about a query, in general words: the exact ones may hold a number, so they are kept in English.
FAILURES = {
    "internal_error": gettext_noop("Something on our side failed on this photo each time. Please try another picture."),
    "photo_too_large": gettext_noop("The picture is too large. Please send a smaller one."),
    "photo_too_many_pixels": gettext_noop("The picture has too many pixels. Please send a smaller one."),
    "photo_too_small": gettext_noop("The picture is too small. Please send a larger one."),
    "photo_unreadable": gettext_noop("There is no picture at this address, but something else."),
    "photo_format_unsupported": gettext_noop("Pictures of this kind are not taken."),
    "crop_too_small": gettext_noop("The crop leaves too little of the photo."),
    "url_unreachable": gettext_noop("The picture could not be fetched from this address."),
    "url_timeout": gettext_noop("The picture did not arrive in time."),
    "webhook_failed": gettext_noop("The address could not be told that the query has ended."),
    "url_too_large": gettext_noop("The picture at this address is too large."),
}

# Sentences of REST framework that it has no Polish for. Django looks them up among ours as well.
FRAMEWORK = (
    gettext_noop("A valid biginteger is required."),
    gettext_noop("Datetime value out of range."),
    gettext_noop("Ensure this field has at least {min_length} elements."),
    gettext_noop("Ensure this field has no more than {max_length} elements."),
    ngettext_lazy("Expected available in {wait} second.", "Expected available in {wait} seconds.", "wait"),
    gettext_noop("Integer value too large to convert to float"),
    gettext_noop("Invalid input."),
    gettext_noop("Must be a valid UUID."),
    gettext_noop("Must be a valid boolean."),
    gettext_noop("Not a valid string."),
    gettext_noop("Surrogate characters are not allowed: U+{code_point:X}."),
    gettext_noop("This dictionary may not be empty."),
)

# The first kind that fits counts, so the narrower kinds come first.
_KINDS: tuple[tuple[type[Exception], Problem], ...] = (
    (Http404, NOT_FOUND),
    (PermissionDenied, FORBIDDEN),
    (RequestDataTooBig, TOO_LARGE),
    (MultiPartParserError, BROKEN_BODY),
    (UnreadablePostError, BROKEN_BODY),
    (SuspiciousOperation, BAD_REQUEST),
    (BadRequest, BAD_REQUEST),
    (InterfaceError, DATABASE_AWAY),
)


def problem_of(error: BaseException | None) -> Problem | None:
    """What to tell about an error; None if nothing is known of it, which makes it a bug of ours."""
    if isinstance(error, Refused):
        return Problem(error.status, error.code, error.detail)
    known = next((problem for kind, problem in _KINDS if isinstance(error, kind)), None)
    return known or _machine_problem(error)


def _machine_problem(error: BaseException | None) -> Problem | None:
    """The disk, the object store or the database is at fault: worth a line in the log, and another try later."""
    problem = None
    if isinstance(error, OperationalError):
        problem = STORAGE_FULL if "disk is full" in str(error) or "No space left" in str(error) else DATABASE_AWAY
    elif type(error) in (IntegrityError, DatabaseError):  # what it was about is gone since a moment
        problem = DATABASE_AWAY
    elif isinstance(error, OSError):
        problem = STORAGE_FULL if error.errno in FULL_DISK else STORAGE_AWAY
    elif error is not None and any(kind.__module__.startswith(STORAGE_PACKAGES) for kind in type(error).__mro__):
        problem = STORAGE_AWAY
    if problem is not None:
        logger.error("%s: %s", problem.code, error, exc_info=error)
    return problem


def translated(sentence: str) -> str:
    """The sentence as it is shown; one that is not known stays as it is."""
    return gettext(sentence) if sentence else ""  # to gettext nothing means: tell about the translation


def failure_sentence(code: str, detail: str) -> str:
    """Why a query failed, from the English words that a worker stored: those translated, else the code's own."""
    told = translated(detail)
    if told != detail or (get_language() or "en").startswith("en"):
        return told
    return translated(FAILURES.get(code, detail))
