"""Admin of training runs: list, start form, live page, and the buttons cancel, resume, clone, delete."""

from collections.abc import Callable, Sequence
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import FileResponse, Http404, HttpRequest, HttpResponse, HttpResponseBase, HttpResponseNotAllowed
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import URLPattern, path
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.decorators import display

from catalog.admin.base import DeletedByService, breakable, parse_key, staff_user
from catalog.admin.runs.form import check_run, form_values, make_run_form, start_run
from catalog.admin.runs.metrics import best_summary
from catalog.admin.runs.page import STATE_COLOURS, render_parts
from catalog.admin.runs.wording import duration_text, epoch_text, format_time, progress_percent
from catalog.errors import Refused
from catalog.models import TrainingRun
from catalog.run_folder import run_picture
from catalog.services.training.runs import run_cancel, run_delete, run_resume

PAGES = "admin/catalog/trainingrun"
MONTH = 30 * 24 * 3600  # seconds


@admin.register(TrainingRun)
class TrainingRunAdmin(DeletedByService[TrainingRun]):
    """Training runs. Runs are deleted with their files, and only after they have ended."""

    list_display = (
        "shown_name",
        "kind",
        "shown_state",
        "progress_bar",
        "epoch",
        "best",
        "started_by",
        "started",
        "duration",
    )
    list_display_links = ("shown_name",)
    list_filter = ("state", "kind", "source")
    list_select_related = ("started_by",)
    search_fields = ("name", "reason")

    class Media:
        css = {"all": ("catalog/runs.css",)}  # noqa: RUF012 - as Django spells it
        js = ("catalog/runs.js",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[TrainingRun]:
        return super().get_queryset(request).defer("log_tail")

    @admin.display(description="Name", ordering="name")
    def shown_name(self, run: TrainingRun) -> SafeString:
        return breakable(run.name)

    @display(description="State", ordering="state", label=dict(STATE_COLOURS))  # type: ignore[untyped-decorator]
    def shown_state(self, run: TrainingRun) -> str:
        return run.state

    @admin.display(description="Progress")
    def progress_bar(self, run: TrainingRun) -> SafeString:
        percent = progress_percent(run)
        markup = '<progress class="runs-bar" max="100" value="{}" aria-label="Progress of {}">{} %</progress>'
        return format_html(markup, percent, run.name, percent)

    @admin.display(description="Epoch")
    def epoch(self, run: TrainingRun) -> SafeString:
        return no_wrap(epoch_text(run))

    @admin.display(description="Best metrics")
    def best(self, run: TrainingRun) -> str:
        return best_summary(run)

    @admin.display(description="Started", ordering="started_at")
    def started(self, run: TrainingRun) -> SafeString:
        return no_wrap(format_time(run.started_at))

    @admin.display(description="Duration")
    def duration(self, run: TrainingRun) -> SafeString:
        return no_wrap(duration_text(run))

    def has_delete_permission(self, request: HttpRequest, obj: TrainingRun | None = None) -> bool:
        """Only runs that have ended can be deleted."""
        return super().has_delete_permission(request, obj) and (obj is None or obj.has_ended)

    def get_deleted_objects(
        self, objs: "QuerySet[TrainingRun] | Sequence[TrainingRun]", request: HttpRequest
    ) -> tuple[list[Any], dict[str, int], set[str], list[str]]:
        """Runs that have not ended protect the whole selection from deletion."""
        names, counts, permissions, _ = super().get_deleted_objects(objs, request)
        return names, counts, permissions, [f"{run}, which has not ended" for run in objs if not run.has_ended]

    def remove(self, row: TrainingRun) -> None:
        run_delete(run=row)

    def get_urls(self) -> list[URLPattern]:
        pages = {"live": self.live, "cancel": self.cancel, "resume": self.resume}
        paths = [
            path(f"<int:pk>/{name}/", self.admin_site.admin_view(view), name=f"catalog_trainingrun_{name}")
            for name, view in pages.items()
        ]
        picture = self.admin_site.admin_view(self.picture, cacheable=True)
        return [
            *paths,
            path("<int:pk>/pictures/<str:name>", picture, name="catalog_trainingrun_picture"),
            *super().get_urls(),
        ]

    # --- the page of one run

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        run = self.get_object(request, object_id)
        if run is None:
            return self._get_obj_does_not_exist_redirect(request, self.opts, object_id)  # type: ignore[attr-defined, no-any-return]  # Django's own
        self._require_view(request, run)
        context = {"parts": render_parts(request, run), "run": run, "original": run}
        return render(request, f"{PAGES}/run.html", self._frame_context(request, run.name) | context)

    def live(self, request: HttpRequest, pk: int) -> HttpResponse:
        """The parts whose etags are not among the query parameters `seen`; 204 if there are none."""
        run = self._load_run(request, pk)
        shown_etags = request.GET.getlist("seen")
        parts = {name: part for name, part in render_parts(request, run).items() if part["etag"] not in shown_etags}
        return render(request, f"{PAGES}/_live.html", {"parts": parts}) if parts else HttpResponse(status=204)

    def picture(self, request: HttpRequest, pk: int, name: str) -> HttpResponseBase:
        """Serve a picture of the run. Its URL carries a version, so browsers may cache it."""
        run = self._load_run(request, pk)
        try:
            file = run_picture(run, name).open("rb")
        except FileNotFoundError:
            raise Http404 from None
        response = FileResponse(file, content_type="image/png")
        response["Cache-Control"] = f"private, max-age={MONTH}"
        return response

    def cancel(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Cancel a queued run at once, a running one within seconds."""
        return self._call_service(request, pk, run_cancel, "The run is being stopped.")

    def resume(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Queue a failed or cancelled run again."""
        return self._call_service(request, pk, run_resume, "The run is queued again.")

    # --- the form

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the start form; on POST refill it for another kind, run the preflight check, or start the run."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        clone = self._run_to_clone(request)
        context: dict[str, Any] = {"clone": clone}
        if request.method != "POST":
            values = form_values(clone) if clone else {}
            context["form"] = make_run_form(values, initial=values)
        elif "_refill" in request.POST:
            context["form"] = make_run_form(request.POST, initial=request.POST.dict())
        else:
            context["form"] = form = make_run_form(request.POST, data=request.POST)
            if form.is_valid() and "_check" in request.POST:
                context |= check_run(form)
            elif form.is_valid() and (run := start_run(form, by=staff_user(request), clone=clone)):
                messages.success(request, f"{run} is queued.")
                return redirect("admin:catalog_trainingrun_change", run.pk)
        page = "_form" if request.htmx else "add"  # type: ignore[attr-defined]  # django-htmx
        return render(request, f"{PAGES}/{page}.html", self._frame_context(request, "Start a training run") | context)

    # --- helpers

    def _frame_context(self, request: HttpRequest, title: str) -> dict[str, Any]:
        return {**self.admin_site.each_context(request), "opts": self.opts, "title": title, "media": self.media}

    def _require_view(self, request: HttpRequest, run: TrainingRun) -> None:
        if not self.has_view_permission(request, run):
            raise PermissionDenied

    def _load_run(self, request: HttpRequest, pk: int) -> TrainingRun:
        """Load a run; 404 if there is none, 403 without the permission to view it."""
        run = get_object_or_404(TrainingRun.objects.select_related("started_by", "cloned_from", "encoder"), pk=pk)
        self._require_view(request, run)
        return run

    def _call_service(
        self, request: HttpRequest, pk: int, service: Callable[..., object], message: str
    ) -> HttpResponse:
        """Call a service with the run and show `message`, or why it refused, on the run's page."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        run = self._load_run(request, pk)
        if not self.has_change_permission(request, run):
            raise PermissionDenied
        try:
            service(run=run)
            messages.success(request, message)
        except Refused as refused:
            messages.error(request, refused.detail)
        return redirect("admin:catalog_trainingrun_change", pk)

    def _run_to_clone(self, request: HttpRequest) -> TrainingRun | None:
        pk = parse_key(request.GET.get("clone", ""))
        return None if pk is None else self._load_run(request, pk)


def no_wrap(text: str) -> SafeString:
    """A value that is not wrapped in the list."""
    return format_html('<span class="runs-line">{}</span>', text)
