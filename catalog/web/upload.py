"""The page that everybody starts from: choose a photo, send it."""

from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views import View

from catalog.middleware import ms_since_start
from catalog.problems import Problem, problem_of
from catalog.services.answers import queries_with_answers
from catalog.services.queries import query_create
from catalog.web.people import person_who_sends
from catalog.web.queries import progress

ANSWERS = 12  # fills rows of two, three and four
NO_FILE = Problem(400, "photo_required", "Choose a photo first.")


class UploadPage(View):
    def get(self, request: HttpRequest) -> HttpResponse:
        return _form_page(request)

    def post(self, request: HttpRequest) -> HttpResponse:
        file = request.FILES.get("photo")
        if not isinstance(file, UploadedFile):
            return _refusal(request, NO_FILE)
        raw = file.read()
        receive_ms = ms_since_start(request)
        person = person_who_sends(request)
        try:
            query = query_create(photo=raw, k=ANSWERS, receive_ms=receive_ms, **person)
        except Exception as error:
            problem = problem_of(error)
            if problem is None:
                raise
            return _refusal(request, problem)
        if not request.htmx:  # type: ignore[attr-defined]  # set by django-htmx's middleware
            return redirect("query", pk=query.pk)
        response = progress(request, queries_with_answers(**person).get(pk=query.pk))
        response["HX-Push-Url"] = reverse("query", args=[query.pk])
        return response


def _refusal(request: HttpRequest, problem: Problem) -> HttpResponse:
    """The sentence beside the form: in place where scripts run, else on the form's page again."""
    if not request.htmx:  # type: ignore[attr-defined]
        return _form_page(request, problem)
    response = HttpResponse(problem.detail, status=problem.status, content_type="text/plain; charset=utf-8")
    response["HX-Retarget"], response["HX-Reswap"] = "#refusal", "textContent"
    return response


def _form_page(request: HttpRequest, problem: Problem | None = None) -> HttpResponse:
    context = {
        "problem": problem,
        "max_mb": settings.MAX_UPLOAD_MB,
        "max_bytes": settings.MAX_UPLOAD_MB * 2**20,
        "photo_days": settings.PHOTO_DAYS,
    }
    return render(request, "catalog/upload.html", context, status=problem.status if problem else 200)
