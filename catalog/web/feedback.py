"""What a person says about the answers on a page: thumbs, opened items, and whether their photo may be learned from."""

from uuid import UUID

from django.core.exceptions import BadRequest
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST

from catalog.errors import Refused
from catalog.http.error_pages import problem_in_place, problem_page
from catalog.http.problems import Problem
from catalog.models import UploadedPhoto, Verdict
from catalog.services.feedback.feedback import feedback_give, photo_consent_set
from catalog.services.queries.answers import queries_of, recommendations_of
from catalog.services.uploads import upload_delete
from catalog.web.matches import consent_of, match_of
from catalog.web.people import person_of, visitor_stay
from catalog.web.rates import too_many_changes

SAID = {"up": "Marked as a good match.", "down": "Marked as a poor match.", "": "Your mark is taken back."}


@require_POST
def recommendation_feedback(request: HttpRequest, pk: int) -> HttpResponse:
    """A thumb, by the form below a match; or that its item was opened, which scripts tell in the background."""
    found = get_object_or_404(recommendations_of(**person_of(request)), pk=pk)
    if (refused := too_many_changes(request)) is not None:
        return _refusal(request, refused)
    verdict = request.POST.get("verdict")
    if verdict not in (None, "", *Verdict.values):
        raise BadRequest("A verdict is up, down or nothing.")
    try:
        said = feedback_give(recommendation=found, verdict=verdict, clicked="clicked" in request.POST)
    except Refused:
        raise Http404 from None
    if verdict is None:
        return HttpResponse(status=204)
    if not request.htmx:  # type: ignore[attr-defined]  # set by django-htmx's middleware
        return redirect(f"{reverse('query', args=[found.query_id])}#match-{found.rank}")
    return render(request, "catalog/_thumbs.html", {"match": match_of(found, said), "told": SAID[said.verdict]})


@require_POST
def photo_consent(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Whether encoders may learn from the photo of a query, by the checkbox below its answer."""
    query = get_object_or_404(queries_of(**person_of(request)), pk=pk, photo__isnull=False)
    if (refused := too_many_changes(request)) is not None:
        return _refusal(request, refused)
    assert query.photo is not None  # noqa: S101 - asked for above; this tells the type checker
    may_train = "may_train" in request.POST
    photo_consent_set(photo=query.photo, may_train=may_train)
    if may_train:
        visitor_stay(request)
    if not request.htmx:  # type: ignore[attr-defined]
        return redirect(f"{reverse('query', args=[pk])}#consent")
    query.photo.refresh_from_db()
    told = "Your photo may be learned from." if may_train else "Your photo is not learned from."
    return render(request, "catalog/_consent.html", {"query": query, "consent": consent_of(query), "told": told})


@require_POST
def photo_delete(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Delete a photo of one's own with all that was made of it, and start anew."""
    person = person_of(request)
    mine = UploadedPhoto.objects.owned_by(user=person["owner"], visitor=person["visitor"])
    photo = get_object_or_404(mine, pk=pk)
    if (refused := too_many_changes(request)) is not None:
        return _refusal(request, refused)
    upload_delete(photo=photo)
    return redirect("upload")


def _refusal(request: HttpRequest, problem: Problem) -> HttpResponse:
    """The sentence below the answer where scripts run; else a page."""
    if not request.htmx:  # type: ignore[attr-defined]
        return problem_page(request, problem)
    return problem_in_place(problem, "#feedback-problem")
