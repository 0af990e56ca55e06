"""Admin of encoders: list, page, comparison, upload, download, and the buttons promote, roll back, retire, delete."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Count, OuterRef, QuerySet, Subquery, Value
from django.db.models.fields.json import KeyTransform
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseNotAllowed, StreamingHttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.http import content_disposition_header
from django.utils.safestring import SafeString
from django.views.decorators.csrf import csrf_exempt, csrf_protect
from unfold.decorators import display

from catalog.admin.base import ReadOnlyAdmin, link_to, parse_key, staff_user
from catalog.admin.encoders.metrics import card_metrics, key_metrics
from catalog.admin.encoders.page import STATE_COLOURS, comparison_context, dependent_counts, encoder_context
from catalog.admin.encoders.upload import UnnamedTemporaryFileHandler, make_upload_form
from catalog.errors import Refused
from catalog.models import Embedding, Encoder, Evaluation, EvaluationState, ItemPhoto, Promotion
from catalog.services.encoders.archives import encoder_download
from catalog.services.encoders.evaluations import comparison_candidate, evaluation_request
from catalog.services.encoders.release import (
    encoder_delete,
    encoder_promote,
    encoder_restore,
    encoder_retire,
    encoder_roll_back,
)
from catalog.services.encoders.release_status import coverage_percent, coverage_text

PAGES = "admin/catalog/encoder"


class ReasonForm(forms.Form):
    """Validates the reason of a promotion or rollback."""

    reason = forms.CharField(required=False, max_length=1000)


@admin.register(Encoder)
class EncoderAdmin(ReadOnlyAdmin[Encoder]):
    """Encoders come from training runs, folders and archives; their fields are never edited."""

    list_display = (
        "shown_name",
        "kind",
        "shown_state",
        "coverage",
        "metrics",
        "run_link",
        "promoted",
    )
    list_display_links = ("shown_name",)
    list_filter = ("state", "kind")
    list_select_related = ("run",)
    search_fields = ("name",)

    class Media:
        css = {"all": ("catalog/runs.css", "catalog/encoders.css")}  # noqa: RUF012 - as Django spells it
        js = ("catalog/encoders.js",)

    # --- the list

    def get_queryset(self, request: HttpRequest) -> QuerySet[Encoder]:
        """Annotate each encoder with coverage, latest metrics and promoter, so that the list takes one query."""
        done = Evaluation.objects.filter(encoder=OuterRef("pk"), state=EvaluationState.DONE)
        newest = done.order_by("-evaluation_set__is_current", "-finished_at")
        promotions = Promotion.objects.filter(encoder=OuterRef("pk")).order_by("-id")
        vectors = Embedding.objects.filter(encoder=OuterRef("pk"), item__deleted_at=None)
        return (
            super()
            .get_queryset(request)
            .annotate(
                embedded=_count(vectors),
                last_minute=_count(vectors.filter(created_at__gt=timezone.now() - timedelta(minutes=1))),
                photos=_count(ItemPhoto.objects.searchable()),
                measured=Subquery(newest.annotate(metrics=KeyTransform("figures", "report")).values("metrics")[:1]),
                promoter=Subquery(promotions.values("by__username")[:1]),
            )
        )

    @admin.display(description="Name", ordering="name")
    def shown_name(self, encoder: Encoder) -> SafeString:
        return format_html('<span class="enc-name">{}</span>', encoder.name)

    @display(description="State", ordering="state", label=dict(STATE_COLOURS))  # type: ignore[untyped-decorator]
    def shown_state(self, encoder: Encoder) -> str:
        return encoder.state

    @admin.display(description="Coverage")
    def coverage(self, encoder: Any) -> SafeString | str:
        if encoder.kind != "metric":
            return "no embeddings"
        percent = coverage_percent(encoder.embedded, encoder.photos)
        text = coverage_text(encoder.embedded, encoder.photos, encoder.last_minute)
        markup = '<progress class="runs-bar" max="100" value="{}" aria-label="Coverage of {}">{} %</progress><br>{}'
        return format_html(markup, percent, encoder.name, percent, text)

    @admin.display(description="Key metrics (95 % interval)")
    def metrics(self, encoder: Any) -> SafeString:
        rows = key_metrics(encoder.kind, encoder.measured or card_metrics(encoder.card))
        line = '{} <strong>{}</strong> <span class="enc-interval">{}</span>'
        lines = ((format_html(line, row.short_name, row.value.text, row.value.interval),) for row in rows if row.value)
        return format_html('<ul class="enc-key">{}</ul>', format_html_join("", "<li>{}</li>", lines))

    @admin.display(description="Training run")
    def run_link(self, encoder: Encoder) -> SafeString | str:
        run = getattr(encoder, "run", None)
        return "" if run is None else link_to(run, "admin:catalog_trainingrun_change")

    @admin.display(description="Promoted", ordering="promoted_at")
    def promoted(self, encoder: Any) -> str:
        if encoder.promoted_at is None:
            return ""
        return f"{encoder.promoted_at:%Y-%m-%d %H:%M}" + (f", by {encoder.promoter}" if encoder.promoter else "")

    # --- the pages

    def get_urls(self) -> list[URLPattern]:
        pages: dict[str, Callable[..., HttpResponseBase]] = {
            "promote": self.promote,
            "roll_back": self.roll_back,
            "retire": self.retire,
            "reconsider": self.reconsider,
            "evaluate": self.evaluate,
            "compare": self.compare,
            "download": self.download,
            "remove": self.remove,
        }
        named = [
            path(
                f"<int:pk>/{name}/", self.admin_site.admin_view(view), name=f"catalog_encoder_{name.replace('-', '_')}"
            )
            for name, view in pages.items()
        ]
        # CSRF-exempt until the upload handler is set: looking for the token reads the body. `upload` checks it then.
        upload = self.admin_site.admin_view(csrf_exempt(self.upload))
        return [path("upload/", upload, name="catalog_encoder_upload"), *named, *super().get_urls()]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        encoder = self.get_object(request, object_id)
        if encoder is None:
            return self._get_obj_does_not_exist_redirect(request, self.opts, object_id)  # type: ignore[attr-defined, no-any-return]  # Django's own
        if request.method != "GET" or not self.has_view_permission(request, encoder):
            raise PermissionDenied
        return self._render_page(request, "page", encoder.name, encoder_context(encoder))

    def compare(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Compare with the encoder whose key is in `against`, by default with the live one."""
        encoder = self._load_encoder(request, pk)
        other = _find_other(request.GET.get("against", ""), encoder) or comparison_candidate(encoder)
        context = comparison_context(encoder, other)
        return self._render_page(request, "compare", f"Compare {encoder}", context)

    def download(self, request: HttpRequest, pk: int) -> HttpResponseBase:
        """Stream the encoder folder as a zip file."""
        encoder = self._load_encoder(request, pk)
        try:
            chunks = encoder_download(encoder=encoder)
        except Refused as refused:
            messages.error(request, refused.detail)
            return redirect("admin:catalog_encoder_change", pk)
        headers = {"Content-Disposition": str(content_disposition_header(True, f"{encoder.name}.zip"))}
        return StreamingHttpResponse(chunks, content_type="application/zip", headers=headers)

    def upload(self, request: HttpRequest) -> HttpResponse:
        """Show the upload form; on POST register the encoder of the zip file."""
        if not request.user.has_perm("catalog.add_encoder"):
            raise PermissionDenied
        request.upload_handlers = [UnnamedTemporaryFileHandler(request)]
        response: HttpResponse = csrf_protect(self._handle_upload)(request)
        return response

    def _handle_upload(self, request: HttpRequest) -> HttpResponse:
        form = make_upload_form(request)
        if form.is_bound and form.is_valid() and form.encoder:
            messages.success(request, f"{form.encoder} is registered.")
            return redirect("admin:catalog_encoder_change", form.encoder.pk)
        return self._render_page(
            request, "upload", "Upload an encoder", {"form": form, "max_mb": settings.ENCODER_MAX_MB}
        )

    # --- the buttons

    def promote(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Make the encoder live; the reason overrides objections that are not blocking."""

        def service(encoder: Encoder) -> object:
            return encoder_promote(encoder=encoder, by=staff_user(request), reason=_read_reason(request))

        return self._call_service(request, pk, service, "{encoder} answers all queries now.")

    def roll_back(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Make the previously live encoder live again."""

        def service(encoder: Encoder) -> object:
            return encoder_roll_back(by=staff_user(request), reason=_read_reason(request))

        return self._call_service(request, pk, service, "Rolled back from {encoder}.")

    def retire(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Stop embedding the catalogue with the encoder."""
        return self._call_service(request, pk, lambda encoder: encoder_retire(encoder=encoder), "{encoder} is retired.")

    def reconsider(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Make a retired encoder a candidate again (`encoder_restore`)."""
        return self._call_service(
            request, pk, lambda encoder: encoder_restore(encoder=encoder), "{encoder} is a candidate again."
        )

    def evaluate(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Queue an evaluation, compared with the encoder whose key is in `against`, if any."""

        def service(encoder: Encoder) -> object:
            other = _find_other(request.POST.get("against", ""), encoder)
            return evaluation_request(encoder=encoder, against=other, again=True)

        return self._call_service(request, pk, service, "{encoder} is queued for evaluation.")

    def remove(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Show what depends on the encoder and ask for confirmation; on POST delete it and its folder."""
        encoder = self._load_encoder(request, pk)
        if not request.user.has_perm("catalog.delete_encoder"):
            raise PermissionDenied
        if request.method != "POST":
            context = {"encoder": encoder, "dependents": dependent_counts(encoder)}
            return self._render_page(request, "remove", f"Delete {encoder}?", context)
        try:
            encoder_delete(encoder=encoder)
        except Refused as refused:
            messages.error(request, refused.detail)
            return redirect("admin:catalog_encoder_change", pk)
        messages.success(request, f"{encoder.name} was deleted.")
        return redirect("admin:catalog_encoder_changelist")

    # --- helpers

    def _call_service(
        self, request: HttpRequest, pk: int, service: Callable[[Encoder], object], message: str
    ) -> HttpResponse:
        """Call a service with the encoder and show `message`, or why it refused, on the encoder's page."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        encoder = self._load_encoder(request, pk)
        if not request.user.has_perm("catalog.change_encoder"):
            raise PermissionDenied
        try:
            service(encoder)
            messages.success(request, message.format(encoder=encoder))
        except Refused as refused:
            messages.error(request, refused.detail)
        return redirect(_return_page(request), pk)

    def _load_encoder(self, request: HttpRequest, pk: int) -> Encoder:
        """Load an encoder; 404 if there is none, 403 without the permission to view it."""
        encoder = get_object_or_404(Encoder.objects.select_related("run"), pk=pk)
        if not self.has_view_permission(request, encoder):
            raise PermissionDenied
        return encoder

    def _render_page(self, request: HttpRequest, name: str, title: str, context: dict[str, Any]) -> HttpResponse:
        may = {f"may_{verb}": request.user.has_perm(f"catalog.{verb}_encoder") for verb in ("add", "change", "delete")}
        frame = {**self.admin_site.each_context(request), "opts": self.opts, "title": title, "media": self.media}
        return render(request, f"{PAGES}/{name}.html", frame | may | context | {"original": context.get("encoder")})


def _read_reason(request: HttpRequest) -> str:
    """The reason that was typed, "" if empty. Raises `Refused` if it cannot be stored."""
    form = ReasonForm(request.POST)
    if not form.is_valid():
        raise Refused("reason", "The reason must be plain text of 1,000 characters at most.")
    return str(form.cleaned_data["reason"])


def _find_other(key: str, encoder: Encoder) -> Encoder | None:
    """Another encoder of the same kind by a primary key from the request; None if it is invalid or unknown."""
    pk = parse_key(key)
    return None if pk is None else Encoder.objects.filter(pk=pk, kind=encoder.kind).exclude(pk=encoder.pk).first()


def _return_page(request: HttpRequest) -> str:
    """The URL name of the page that the form was on."""
    page = "compare" if request.POST.get("back") == "compare" else "change"
    return f"admin:catalog_encoder_{page}"


def _count(rows: QuerySet[Any]) -> Coalesce:
    """A subquery that counts related rows, 0 if there are none."""
    counts = rows.order_by().values(one=Value(1)).annotate(n=Count("pk"))
    return Coalesce(Subquery(counts.values("n")), 0)
