"""How often a browser may send photos."""

from django.http import HttpRequest

from catalog.api.throttles import spend_anonymously
from catalog.problems import Problem
from catalog.rates import spend
from catalog.web.people import person_of

QUERY = "query"


def too_many_queries(request: HttpRequest) -> Problem | None:
    """The refusal, if this person sends more than the API would take; None, and the request is counted, otherwise.

    A browser that keeps no cookies is counted by its address.
    """
    person = person_of(request)
    if person["owner"] is not None:
        wait = spend(scope=QUERY, who=f"user:{person['owner'].pk}")
    else:
        visitor = f"visitor:{person['visitor']}" if person["visitor"] else ""
        wait = spend_anonymously(request, scope=QUERY, who=visitor)
    if wait is None:
        return None
    detail = f"These are too many photos at once. Please try again in {wait} seconds."
    return Problem(429, "throttled", detail, headers={"Retry-After": str(wait)})
