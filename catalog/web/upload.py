"""Start page: choose a photo and send it as a query."""

from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views import View
from django.views.decorators.csrf import csrf_exempt, csrf_protect

from catalog.api.legacy import legacy_route
from catalog.http.error_pages import htmx_problem, is_legacy_request
from catalog.http.problems import Problem, problem_for
from catalog.http.timing import ms_since_start
from catalog.services.queries.create import query_create
from catalog.services.queries.read import queries_with_answers
from catalog.web.owners import ensure_owner
from catalog.web.queries import progress
from catalog.web.throttles import throttle_query

ANSWERS = 12  # fills rows of two, three and four
NO_FILE = Problem(400, "photo_required", "Choose a photo first.")


class UploadPage(View):
    """Show the upload form; on POST create a query with the photo and show its progress."""

    def get(self, request: HttpRequest) -> HttpResponse:
        return _form_page(request)

    def post(self, request: HttpRequest) -> HttpResponse:
        file = request.FILES.get("photo")
        if not isinstance(file, UploadedFile):
            return _refusal(request, NO_FILE)
        if (problem := throttle_query(request)) is not None:
            return _refusal(request, problem)
        raw = file.read()
        receive_ms = ms_since_start(request)
        owner = ensure_owner(request)
        try:
            query = query_create(photo=raw, k=ANSWERS, receive_ms=receive_ms, **owner)
        except Exception as error:
            problem = problem_for(error)
            if problem is None:
                raise
            return _refusal(request, problem)
        if not request.htmx:  # type: ignore[attr-defined]  # set by django-htmx's middleware
            return redirect("query", pk=query.pk)
        response = progress(request, queries_with_answers(**owner).get(pk=query.pk))
        response["HX-Push-Url"] = reverse("query", args=[query.pk])
        return response


upload_page = csrf_protect(UploadPage.as_view())


@csrf_exempt
def front_page(request: HttpRequest) -> HttpResponseBase:
    """Serve `/`: the upload page with CSRF protection; the existing Android app's route, which sends no token."""
    return legacy_route(request) if is_legacy_request(request) else upload_page(request)


def _refusal(request: HttpRequest, problem: Problem) -> HttpResponse:
    """Respond with the sentence beside the form (htmx), else with the form's page again."""
    if not request.htmx:  # type: ignore[attr-defined]
        return _form_page(request, problem)
    return htmx_problem(problem, "#refusal")


def _form_page(request: HttpRequest, problem: Problem | None = None) -> HttpResponse:
    context = {
        "problem": problem,
        "max_mb": settings.MAX_UPLOAD_MB,
        "max_bytes": settings.MAX_UPLOAD_MB * 2**20,
        "photo_days": settings.PHOTO_DAYS,
    }
    page = render(request, "catalog/upload.html", context, status=problem.status if problem else 200)
    for name, value in (problem.headers if problem else {}).items():
        page[name] = value
    return page
