"""Rate limits of the pages: the same scopes as the API, per user, browser or client IP."""

from django.http import HttpRequest

from catalog.http.problems import Problem
from catalog.http.rate_limits import count_request
from catalog.http.throttles import WRITE, count_anonymous
from catalog.web.owners import current_owner

QUERY = "query"


def throttle_query(request: HttpRequest) -> Problem | None:
    """Count a new query; return the refusal above the limit, else None."""
    wait = _retry_after(request, QUERY)
    return (
        None
        if wait is None
        else _throttled(f"You have sent too many photos at once. Please try again in {wait} seconds.", wait)
    )


def throttle_change(request: HttpRequest) -> Problem | None:
    """Count any other change; return the refusal above the limit, else None."""
    wait = _retry_after(request, WRITE)
    return None if wait is None else _throttled(f"That was too much at once. Please try again in {wait} seconds.", wait)


def _retry_after(request: HttpRequest, scope: str) -> int | None:
    """Seconds until the request may be repeated; None if allowed. Browsers without cookies count per client IP."""
    owner = current_owner(request)
    if owner["owner"] is not None:
        return count_request(scope=scope, client=f"user:{owner['owner'].pk}").retry_after
    visitor = f"visitor:{owner['visitor']}" if owner["visitor"] else ""
    return count_anonymous(request, scope=scope, client=visitor).retry_after


def _throttled(detail: str, wait: int) -> Problem:
    return Problem(429, "throttled", detail, headers={"Retry-After": str(wait)})
