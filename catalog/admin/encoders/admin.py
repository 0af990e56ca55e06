"""The registry of encoders: what each is and can do, and everything that is done with one."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

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

from catalog.admin.base import ReadOnlyAdmin, link_to, staff_of
from catalog.admin.encoders.actions import other_named, other_suggested, page_to_return_to, reason_in
from catalog.admin.encoders.figures import figures_on_card, key_figures
from catalog.admin.encoders.page import (
    LABELS,
    comparison_page,
    coverage_words,
    dependents_words,
    page_of,
    percent_covered,
)
from catalog.admin.encoders.upload import NamelessFile, upload_form
from catalog.errors import Refused
from catalog.models import Embedding, Encoder, Evaluation, EvaluationState, ItemPhoto, Promotion
from catalog.services.encoders.archives import encoder_download
from catalog.services.encoders.evaluations import evaluation_request
from catalog.services.encoders.release import (
    encoder_delete,
    encoder_promote,
    encoder_restore,
    encoder_retire,
    encoder_roll_back,
)

PAGES = "admin/catalog/encoder"


@admin.register(Encoder)
class EncoderAdmin(ReadOnlyAdmin[Encoder]):
    """Encoders come from training runs, folders and archives; nothing in one is ever edited."""

    list_display = (
        "shown_name",
        "kind",
        "shown_state",
        "coverage",
        "figures",
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
        done = Evaluation.objects.filter(encoder=OuterRef("pk"), state=EvaluationState.DONE)
        newest = done.order_by("-evaluation_set__is_current", "-finished_at")
        promotions = Promotion.objects.filter(encoder=OuterRef("pk")).order_by("-id")
        vectors = Embedding.objects.filter(encoder=OuterRef("pk"), item__deleted_at=None)
        return (
            super()
            .get_queryset(request)
            .annotate(
                embedded=_count(vectors),
                lately=_count(vectors.filter(created_at__gt=timezone.now() - timedelta(minutes=1))),
                photos=_count(ItemPhoto.objects.searchable()),
                measured=Subquery(newest.annotate(told=KeyTransform("figures", "report")).values("told")[:1]),
                promoter=Subquery(promotions.values("by__username")[:1]),
            )
        )

    @admin.display(description="Name", ordering="name")
    def shown_name(self, encoder: Encoder) -> SafeString:
        return format_html('<span class="enc-name">{}</span>', encoder.name)

    @display(description="State", ordering="state", label=dict(LABELS))  # type: ignore[untyped-decorator]
    def shown_state(self, encoder: Encoder) -> str:
        return encoder.state

    @admin.display(description="Coverage")
    def coverage(self, encoder: Any) -> SafeString | str:
        if encoder.kind != "metric":
            return "embeds nothing"
        percent = percent_covered(encoder.embedded, encoder.photos)
        words = coverage_words(encoder.embedded, encoder.photos, encoder.lately)
        markup = '<progress class="runs-bar" max="100" value="{}" aria-label="Coverage of {}">{} %</progress><br>{}'
        return format_html(markup, percent, encoder.name, percent, words)

    @admin.display(description="Key figures (95 % interval)")
    def figures(self, encoder: Any) -> SafeString:
        rows = key_figures(encoder.kind, encoder.measured or figures_on_card(encoder.card))
        line = '{} <strong>{}</strong> <span class="enc-interval">{}</span>'
        lines = ((format_html(line, row.short, row.ours.text, row.ours.interval),) for row in rows if row.ours)
        return format_html('<ul class="enc-key">{}</ul>', format_html_join("", "<li>{}</li>", lines))

    @admin.display(description="Run")
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
        # Exempt only until its handler is set: to look for the token is to read the body.
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
        return self._page(request, "page", encoder.name, page_of(encoder))

    def compare(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Side by side with the live encoder, or with the one that `against` names."""
        encoder = self._encoder(request, pk)
        other = other_named(request.GET.get("against", ""), encoder) or other_suggested(encoder)
        context = comparison_page(encoder, other)
        return self._page(request, "compare", f"{encoder} side by side", context)

    def download(self, request: HttpRequest, pk: int) -> HttpResponseBase:
        encoder = self._encoder(request, pk)
        try:
            pieces = encoder_download(encoder=encoder)
        except Refused as refused:
            messages.error(request, refused.detail)
            return redirect("admin:catalog_encoder_change", pk)
        headers = {"Content-Disposition": str(content_disposition_header(True, f"{encoder.name}.zip"))}
        return StreamingHttpResponse(pieces, content_type="application/zip", headers=headers)

    def upload(self, request: HttpRequest) -> HttpResponse:
        if not request.user.has_perm("catalog.add_encoder"):
            raise PermissionDenied
        request.upload_handlers = [NamelessFile(request)]
        answer: HttpResponse = csrf_protect(self._upload)(request)
        return answer

    def _upload(self, request: HttpRequest) -> HttpResponse:
        form = upload_form(request)
        if form.is_bound and form.is_valid() and form.encoder:
            messages.success(request, f"{form.encoder} is registered.")
            return redirect("admin:catalog_encoder_change", form.encoder.pk)
        return self._page(request, "upload", "Upload an encoder", {"form": form, "max_mb": settings.ENCODER_MAX_MB})

    # --- what is done with an encoder

    def promote(self, request: HttpRequest, pk: int) -> HttpResponse:
        def service(encoder: Encoder) -> object:
            return encoder_promote(encoder=encoder, by=staff_of(request), reason=reason_in(request))

        return self._act(request, pk, service, "{encoder} answers from now on.")

    def roll_back(self, request: HttpRequest, pk: int) -> HttpResponse:
        def service(encoder: Encoder) -> object:
            return encoder_roll_back(by=staff_of(request), reason=reason_in(request))

        return self._act(request, pk, service, "The encoder before {encoder} answers again.")

    def retire(self, request: HttpRequest, pk: int) -> HttpResponse:
        return self._act(request, pk, lambda one: encoder_retire(encoder=one), "{encoder} is retired.")

    def reconsider(self, request: HttpRequest, pk: int) -> HttpResponse:
        return self._act(request, pk, lambda one: encoder_restore(encoder=one), "{encoder} is a candidate again.")

    def evaluate(self, request: HttpRequest, pk: int) -> HttpResponse:
        def service(encoder: Encoder) -> object:
            other = other_named(request.POST.get("against", ""), encoder)
            return evaluation_request(encoder=encoder, against=other, again=True)

        return self._act(request, pk, service, "{encoder} is measured as soon as a worker is free.")

    def remove(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Ask first, with everything that depends on the encoder; then delete it and its folder."""
        encoder = self._encoder(request, pk)
        if not request.user.has_perm("catalog.delete_encoder"):
            raise PermissionDenied
        if request.method != "POST":
            context = {"encoder": encoder, "dependents": dependents_words(encoder)}
            return self._page(request, "remove", f"Delete {encoder}?", context)
        try:
            encoder_delete(encoder=encoder)
        except Refused as refused:
            messages.error(request, refused.detail)
            return redirect("admin:catalog_encoder_change", pk)
        messages.success(request, f"{encoder.name} is deleted.")
        return redirect("admin:catalog_encoder_changelist")

    # --- what they share

    def _act(self, request: HttpRequest, pk: int, service: Callable[[Encoder], object], done: str) -> HttpResponse:
        """Have a service do something with the encoder, and say on its page what came of it."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        encoder = self._encoder(request, pk)
        if not request.user.has_perm("catalog.change_encoder"):
            raise PermissionDenied
        try:
            service(encoder)
            messages.success(request, done.format(encoder=encoder))
        except Refused as refused:
            messages.error(request, refused.detail)
        return redirect(page_to_return_to(request), pk)

    def _encoder(self, request: HttpRequest, pk: int) -> Encoder:
        """The encoder, for whoever may see encoders at all."""
        encoder = get_object_or_404(Encoder.objects.select_related("run"), pk=pk)
        if not self.has_view_permission(request, encoder):
            raise PermissionDenied
        return encoder

    def _page(self, request: HttpRequest, name: str, title: str, context: dict[str, Any]) -> HttpResponse:
        may = {f"may_{what}": request.user.has_perm(f"catalog.{what}_encoder") for what in ("add", "change", "delete")}
        frame = {**self.admin_site.each_context(request), "opts": self.opts, "title": title, "media": self.media}
        return render(request, f"{PAGES}/{name}.html", frame | may | context | {"original": context.get("encoder")})


def _count(rows: QuerySet[Any]) -> Coalesce:
    """How many rows there are, as a column of another table's rows."""
    counted = rows.order_by().values(one=Value(1)).annotate(n=Count("pk"))
    return Coalesce(Subquery(counted.values("n")), 0)
