"""Who guesses passwords is locked out for a while: from one address, under one name."""

from math import ceil
from typing import Any

from axes.models import AccessAttempt
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.translation import gettext as _

from catalog.clients import address_of
from catalog.http.error_pages import problem_page
from catalog.http.problems import Problem


def locked_out(request: HttpRequest, answer: HttpResponse, credentials: dict[str, Any] | None) -> HttpResponse:
    """What the middleware answers instead, whichever door was tried."""
    name = (credentials or {}).get("username")
    latest = AccessAttempt.objects.filter(username=name, ip_address=address_of(request)).first()
    ends_at = (latest.attempt_time if latest else timezone.now()) + settings.AXES_COOLOFF_TIME
    seconds = max(1, ceil((ends_at - timezone.now()).total_seconds()))
    sentence = _("Too many wrong passwords. Please try again in a quarter of an hour.")
    return problem_page(request, Problem(429, "locked_out", sentence, headers={"Retry-After": str(seconds)}))
