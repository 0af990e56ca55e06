"""Page of one query: progress steps while it runs, then the matches."""

from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from catalog import events
from catalog.models import QueryState, SimilarityQuery
from catalog.services.queries.read import queries_with_answers
from catalog.web.matches import consent_context, match_context
from catalog.web.owners import current_owner

POLL_WAIT = 0.35  # seconds; with the page's interval of 400 ms a request waits for the answer nearly all the time

# The states as three steps for people.
STEPS = ("Photo received", "Taking a closer look", "Searching the catalogue")
STEP_OF = {
    QueryState.TO_FETCH: 0,
    QueryState.FETCHING: 0,
    QueryState.QUEUED: 0,
    QueryState.EMBEDDING: 1,
    QueryState.EMBEDDED: 2,
    QueryState.SEARCHING: 2,
    QueryState.DONE: 3,
    QueryState.FAILED: 3,
}


@require_safe
@never_cache
def query_page(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Render the whole page. For htmx, which sends the state it shows, render the changed part, or 204 if unchanged."""
    queries = queries_with_answers(**current_owner(request))
    query = get_object_or_404(queries, pk=pk)
    if not request.htmx:  # type: ignore[attr-defined]  # set by django-htmx's middleware
        return render(request, "catalog/query.html", _context(query))
    if query.state != request.GET.get("seen"):
        return progress(request, query)
    events.wait_until_ended(query.pk, POLL_WAIT)
    query = get_object_or_404(queries.all(), pk=pk)
    return HttpResponse(status=204) if query.state == request.GET.get("seen") else progress(request, query)


def progress(request: HttpRequest, query: SimilarityQuery) -> HttpResponse:
    """Render the part of the page that changes while the query runs."""
    return render(request, "catalog/_query.html", _context(query))


def _context(query: SimilarityQuery) -> dict[str, object]:
    reached = STEP_OF[QueryState(query.state)]
    steps = [{"text": text, "over": number < reached, "now": number == reached} for number, text in enumerate(STEPS)]
    return {
        "query": query,
        "steps": steps,
        "step": STEPS[min(reached, len(STEPS) - 1)],
        "seconds": query.timings.get("total", 0) / 1000,
        "matches": [match_context(recommendation) for recommendation in query.recommendations.all()],
        "consent": consent_context(query),
    }
