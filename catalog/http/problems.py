"""Problems: HTTP status, stable error code and a translated sentence for every refused or failed request.

The API shows them as JSON (RFC 9457), the pages show the sentence.

Code raises and stores sentences in English; they are translated here, where they are shown, so that logs stay English
and a stored error can be read in any language later. Only sentences with placeholders are translated where they are
raised, by `gettext(...).format(...)`. `make messages` (tests/messages.py) collects the sentences by the functions and
classes that take them as an argument, and from the templates. Mails have one file per language.
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
    """An invalid field; `field` is a path such as `filters.min_price`."""

    field: str
    code: str
    detail: str


@dataclass(frozen=True)
class Problem:
    """An error response (RFC 9457). Codes are stable, sentences may change."""

    status: int
    code: str
    detail: str
    errors: tuple[FieldProblem, ...] = ()
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """The standard phrase of the HTTP status."""
        return HTTPStatus(self.status).phrase

    def as_json(self) -> dict[str, Any]:
        """The members of the JSON response, in the current language."""
        return {
            "type": "about:blank",  # RFC 9457: the title is then the phrase of the status; `code` is specific
            "title": self.title,
            "status": self.status,
            "detail": translate(self.detail),
            "code": self.code,
            "errors": [vars(error) for error in self.errors],
            "request_id": request_id(),
        }


BAD_REQUEST = Problem(400, "bad_request", "The request could not be understood.")
FORBIDDEN = Problem(403, "permission_denied", "You are not allowed to do this.")
NOT_FOUND = Problem(404, "not_found", "There is nothing at this address, or it is not yours.")
BROKEN_BODY = Problem(400, "parse_error", "The body is malformed or incomplete.")
TOO_LARGE = Problem(413, "body_too_large", "The request body is too large.")
INTERNAL = Problem(500, "internal_error", "Something went wrong on our side. The error has been logged.")
STORAGE_FULL = Problem(507, "storage_full", "There is no space left for pictures. Please try again later.")
STORAGE_AWAY = Problem(
    503,
    "storage_unavailable",
    "The pictures are unavailable right now. Please try again in a moment.",
    headers={"Retry-After": str(RETRY_SECONDS)},
)
DATABASE_AWAY = Problem(
    503,
    "database_unavailable",
    "We are too busy right now. Please try again in a moment.",
    headers={"Retry-After": str(RETRY_SECONDS)},
)

# General sentences for a worker's error codes, shown in other languages than English: the stored English sentence may
# contain a number and so cannot be translated.
FAILURE_SENTENCES = {
    "internal_error": gettext_noop("We could not process this photo. Please try another picture."),
    "photo_too_large": gettext_noop("The picture is too large. Please send a smaller one."),
    "photo_too_many_pixels": gettext_noop("The picture has too many pixels. Please send a smaller one."),
    "photo_too_small": gettext_noop("The picture is too small. Please send a larger one."),
    "photo_unreadable": gettext_noop("There is no picture at this address."),
    "photo_format_unsupported": gettext_noop("This picture format is not supported."),
    "crop_too_small": gettext_noop("The crop is too small."),
    "url_unreachable": gettext_noop("The picture could not be fetched from this address."),
    "url_timeout": gettext_noop("The picture did not arrive in time."),
    "webhook_failed": gettext_noop("The webhook could not be delivered."),
    "url_too_large": gettext_noop("The picture at this address is too large."),
}

# Sentences of REST framework without a Polish translation of its own. Django looks them up in our catalogue too.
FRAMEWORK_SENTENCES = (
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

# The first match counts, so the narrower classes come first.
_PROBLEMS: tuple[tuple[type[Exception], Problem], ...] = (
    (Http404, NOT_FOUND),
    (PermissionDenied, FORBIDDEN),
    (RequestDataTooBig, TOO_LARGE),
    (MultiPartParserError, BROKEN_BODY),
    (UnreadablePostError, BROKEN_BODY),
    (SuspiciousOperation, BAD_REQUEST),
    (BadRequest, BAD_REQUEST),
    (InterfaceError, DATABASE_AWAY),
)


def problem_for(error: BaseException | None) -> Problem | None:
    """Return the problem to report for an exception; None for an unexpected one, which is a bug."""
    if isinstance(error, Refused):
        return Problem(error.status, error.code, error.detail)
    expected = next((problem for kind, problem in _PROBLEMS if isinstance(error, kind)), None)
    return expected or _outage_problem(error)


def _outage_problem(error: BaseException | None) -> Problem | None:
    """Return and log the problem for a failing disk, object store or database: a retry may succeed."""
    problem = None
    if isinstance(error, OperationalError):
        problem = STORAGE_FULL if "disk is full" in str(error) or "No space left" in str(error) else DATABASE_AWAY
    elif type(error) in (IntegrityError, DatabaseError):  # a concurrent request has deleted a row this one refers to
        problem = DATABASE_AWAY
    elif isinstance(error, OSError):
        problem = STORAGE_FULL if error.errno in FULL_DISK else STORAGE_AWAY
    elif error is not None and any(kind.__module__.startswith(STORAGE_PACKAGES) for kind in type(error).__mro__):
        problem = STORAGE_AWAY
    if problem is not None:
        logger.error("%s: %s", problem.code, error, exc_info=error)
    return problem


def translate(sentence: str) -> str:
    """Return the sentence in the current language; unchanged if it has no translation."""
    return gettext(sentence) if sentence else ""  # gettext("") returns the header of the translation file


def failure_sentence(code: str, detail: str) -> str:
    """Return why a query failed, in the current language: the stored English `detail`, or a general one for `code`."""
    sentence = translate(detail)
    if sentence != detail or (get_language() or "en").startswith("en"):
        return sentence
    return translate(FAILURE_SENTENCES.get(code, detail))
