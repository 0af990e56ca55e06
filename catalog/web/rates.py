"""How often a browser may send photos, and say something about answers."""

from django.http import HttpRequest

from catalog.http.problems import Problem
from catalog.http.rate_limits import spend
from catalog.http.throttles import WRITE, spend_anonymously
from catalog.web.people import person_of

QUERY = "query"


def too_many_queries(request: HttpRequest) -> Problem | None:
    """The refusal, if this person sends more than the API would take; None, and the request is counted, otherwise."""
    wait = _wait(request, QUERY)
    return (
        None
        if wait is None
        else _throttled(f"These are too many photos at once. Please try again in {wait} seconds.", wait)
    )


def too_many_changes(request: HttpRequest) -> Problem | None:
    """The same for whatever else changes something."""
    wait = _wait(request, WRITE)
    return None if wait is None else _throttled(f"That was too much at once. Please try again in {wait} seconds.", wait)


def _wait(request: HttpRequest, scope: str) -> int | None:
    """Seconds until it may work again; None lets it pass. A browser that keeps no cookies is counted by its address."""
    person = person_of(request)
    if person["owner"] is not None:
        return spend(scope=scope, who=f"user:{person['owner'].pk}")
    visitor = f"visitor:{person['visitor']}" if person["visitor"] else ""
    return spend_anonymously(request, scope=scope, who=visitor)


def _throttled(detail: str, wait: int) -> Problem:
    return Problem(429, "throttled", detail, headers={"Retry-After": str(wait)})
