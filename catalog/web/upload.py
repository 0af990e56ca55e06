"""The page that everybody starts from: choose a photo, send it."""

from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views import View
from django.views.decorators.csrf import csrf_exempt, csrf_protect

from catalog.api.legacy import legacy_route
from catalog.http.error_pages import is_legacy_request, problem_in_place
from catalog.http.problems import Problem, problem_of
from catalog.http.timing import ms_since_start
from catalog.services.queries.answers import queries_with_answers
from catalog.services.queries.create import query_create
from catalog.web.people import person_who_sends
from catalog.web.queries import progress
from catalog.web.rates import too_many_queries

ANSWERS = 12  # fills rows of two, three and four
NO_FILE = Problem(400, "photo_required", "Choose a photo first.")


class UploadPage(View):
    def get(self, request: HttpRequest) -> HttpResponse:
        return _form_page(request)

    def post(self, request: HttpRequest) -> HttpResponse:
        file = request.FILES.get("photo")
        if not isinstance(file, UploadedFile):
            return _refusal(request, NO_FILE)
        if (refused := too_many_queries(request)) is not None:
            return _refusal(request, refused)
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


upload_page = csrf_protect(UploadPage.as_view())


@csrf_exempt
def front_page(request: HttpRequest) -> HttpResponseBase:
    """`/`: the upload page, whose form carries a secret, and the route of the existing app, which knows of none."""
    return legacy_route(request) if is_legacy_request(request) else upload_page(request)


def _refusal(request: HttpRequest, problem: Problem) -> HttpResponse:
    """The sentence beside the form: in place where scripts run, else on the form's page again."""
    if not request.htmx:  # type: ignore[attr-defined]
        return _form_page(request, problem)
    return problem_in_place(problem, "#refusal")


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
