"""Feedback from a page: verdicts, opened items, training consent, and deleting a photo."""

from uuid import UUID

from django.core.exceptions import BadRequest
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST

from catalog.errors import Refused
from catalog.http.error_pages import htmx_problem, render_problem
from catalog.http.problems import Problem
from catalog.models import UploadedPhoto, Verdict
from catalog.services.feedback.feedback import feedback_give, photo_consent_set
from catalog.services.queries.read import queries_of, recommendations_of
from catalog.services.uploads import upload_delete
from catalog.web.matches import consent_context, match_context
from catalog.web.owners import current_owner, extend_visitor_session
from catalog.web.throttles import throttle_change

ANNOUNCEMENTS = {"up": "Marked as a good match.", "down": "Marked as a poor match.", "": "Your mark was removed."}


@require_POST
def recommendation_feedback(request: HttpRequest, pk: int) -> HttpResponse:
    """Save a verdict from the form below a match, or that its item was opened (a beacon of feedback.js)."""
    recommendation = get_object_or_404(recommendations_of(**current_owner(request)), pk=pk)
    if (problem := throttle_change(request)) is not None:
        return _refusal(request, problem)
    verdict = request.POST.get("verdict")
    if verdict not in (None, "", *Verdict.values):
        raise BadRequest(f"The verdict {verdict!r} is not one of up, down and empty.")
    try:
        feedback = feedback_give(recommendation=recommendation, verdict=verdict, clicked="clicked" in request.POST)
    except Refused:
        raise Http404 from None
    if verdict is None:
        return HttpResponse(status=204)
    if not request.htmx:  # type: ignore[attr-defined]  # set by django-htmx's middleware
        return redirect(f"{reverse('query', args=[recommendation.query_id])}#match-{recommendation.rank}")
    context = {"match": match_context(recommendation, feedback), "announcement": ANNOUNCEMENTS[feedback.verdict]}
    return render(request, "catalog/_thumbs.html", context)


@require_POST
def photo_consent(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Set the training consent for the photo of a query, by the checkbox below the matches."""
    query = get_object_or_404(queries_of(**current_owner(request)), pk=pk, photo__isnull=False)
    if (problem := throttle_change(request)) is not None:
        return _refusal(request, problem)
    assert query.photo is not None  # noqa: S101 - filtered for above; this narrows the type
    may_train = "may_train" in request.POST
    photo_consent_set(photo=query.photo, may_train=may_train)
    if may_train:
        extend_visitor_session(request)
    if not request.htmx:  # type: ignore[attr-defined]
        return redirect(f"{reverse('query', args=[pk])}#consent")
    query.photo.refresh_from_db()
    announcement = "Thank you. Your photo helps to improve the matches." if may_train else "Your photo stays private."
    context = {"query": query, "consent": consent_context(query), "announcement": announcement}
    return render(request, "catalog/_consent.html", context)


@require_POST
def photo_delete(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Delete a photo of the owner with its queries and their answers; return to the upload page."""
    photo = get_object_or_404(UploadedPhoto.objects.owned_by(**current_owner(request)), pk=pk)
    if (problem := throttle_change(request)) is not None:
        return _refusal(request, problem)
    upload_delete(photo=photo)
    return redirect("upload")


def _refusal(request: HttpRequest, problem: Problem) -> HttpResponse:
    """Respond with the sentence below the matches (htmx), else with a page."""
    if not request.htmx:  # type: ignore[attr-defined]
        return render_problem(request, problem)
    return htmx_problem(problem, "#feedback-problem")
