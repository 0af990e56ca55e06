"""Admin of evaluation sets and of the evaluations that were measured on them."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Count, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.decorators import display
from unfold.widgets import UnfoldAdminIntegerFieldWidget, UnfoldAdminTextInputWidget

from catalog.admin.base import ReadOnlyAdmin, add_refusal, html_table, link_to, staff_user
from catalog.admin.encoders.metrics import compare_metrics, key_metrics
from catalog.admin.encoders.page import EVALUATION_COLOURS
from catalog.errors import Refused
from catalog.models import Evaluation, EvaluationSet
from catalog.services.datasets.evaluation_sets import SHARE, evaluation_set_draw

PURPOSE = (
    "Encoders are compared on the items of this set. These items and identical photos are never used for training, even"
    " when another set is the current one. A set never changes once it is drawn, so its metrics stay comparable."
)


class DrawForm(forms.Form):
    """Name and size of a new evaluation set. Errors are shown at the field."""

    name = forms.CharField(
        required=False, max_length=100, widget=UnfoldAdminTextInputWidget, help_text="Leave empty for a generated name."
    )
    share = forms.IntegerField(
        label="Share of the items (percent)",
        min_value=1,
        max_value=50,
        initial=round(100 * SHARE),
        widget=UnfoldAdminIntegerFieldWidget,
        help_text="Ignored if items were imported with a split: then the set is made of the split “val”, else “test”.",
    )

    def draw(self, request: HttpRequest) -> EvaluationSet | None:
        """Draw the set; None if the service refused, with the reason at the form's field."""
        try:
            name, share = self.cleaned_data["name"], self.cleaned_data["share"] / 100
            return evaluation_set_draw(name=name, share=share, by=staff_user(request))
        except Refused as refused:
            field = {"evaluation_set_exists": "name", "bad_share": "share"}.get(refused.code)
            add_refusal(self, field, refused)
            return None


@admin.register(EvaluationSet)
class EvaluationSetAdmin(ReadOnlyAdmin[EvaluationSet]):
    """Evaluation sets: list, page with counts by category, and the form that draws a new set."""

    list_display = ("name", "current", "items_count", "comparisons", "created_by", "created_at")
    list_select_related = ("created_by",)
    search_fields = ("name",)
    fields = ("name", "current", "purpose", "labels", "comparisons", "created_by", "created_at")
    readonly_fields = fields

    class Media:
        css = {"all": ("catalog/runs.css", "catalog/encoders.css")}  # noqa: RUF012 - as Django spells it

    def get_queryset(self, request: HttpRequest) -> QuerySet[EvaluationSet]:
        counts = {
            "item_count": Count("members", distinct=True),
            "evaluation_count": Count("evaluations", distinct=True),
        }
        return super().get_queryset(request).annotate(**counts)

    @display(description="Current", boolean=True)  # type: ignore[untyped-decorator]
    def current(self, evaluation_set: EvaluationSet) -> bool:
        return evaluation_set.is_current

    @admin.display(description="Items")
    def items_count(self, evaluation_set: Any) -> int:
        count: int = evaluation_set.item_count
        return count

    @admin.display(description="Evaluations")
    def comparisons(self, evaluation_set: Any) -> SafeString:
        page = reverse("admin:catalog_evaluation_changelist")
        markup = '<a class="text-link underline" href="{}?evaluation_set__id__exact={}">{}</a>'
        return format_html(markup, page, evaluation_set.pk, evaluation_set.evaluation_count)

    @admin.display(description="Purpose")
    def purpose(self, evaluation_set: EvaluationSet) -> str:
        return PURPOSE

    @admin.display(description="Items by category")
    def labels(self, evaluation_set: EvaluationSet) -> SafeString:
        counts = evaluation_set.items.values_list("category").annotate(
            items=Count("pk", distinct=True), pictures=Count("photos")
        )
        rows = counts.order_by("-items", "category")
        return html_table(("Category", "Items", "Photos"), ((name or "none", *numbers) for name, *numbers in rows))

    def get_urls(self) -> list[URLPattern]:
        draw = path("draw/", self.admin_site.admin_view(self.draw), name="catalog_evaluationset_draw")
        return [draw, *super().get_urls()]

    def draw(self, request: HttpRequest) -> HttpResponse:
        """Show the form; on POST draw a new evaluation set."""
        if not request.user.has_perm("catalog.add_evaluationset"):
            raise PermissionDenied
        form = DrawForm(request.POST) if request.method == "POST" else DrawForm()
        if form.is_bound and form.is_valid() and (evaluation_set := form.draw(request)):
            messages.success(request, f"{evaluation_set} was drawn. Encoders are compared on this set from now on.")
            return redirect("admin:catalog_evaluationset_change", evaluation_set.pk)
        frame = {**self.admin_site.each_context(request), "opts": self.opts, "media": self.media}
        context = {"title": "Draw an evaluation set", "form": form, "purpose": PURPOSE}
        return render(request, "admin/catalog/evaluationset/draw.html", frame | context)


@admin.register(Evaluation)
class EvaluationAdmin(ReadOnlyAdmin[Evaluation]):
    """Evaluations of one encoder, or of one against another. They are requested on the encoder's page."""

    list_display = ("title", "shown_state", "key_metrics", "progress", "evaluation_set", "created_at", "finished_at")
    list_display_links = ("title",)
    list_filter = ("state", "evaluation_set")
    list_select_related = ("encoder", "against", "evaluation_set")
    search_fields = ("encoder__name", "against__name", "reason")
    fields = (
        ("encoder_link", "against_link", "evaluation_set"),
        ("shown_state", "stage", "reason"),
        "side_by_side",
        "metrics",
        ("created_at", "finished_at"),
        ("attempts", "claimed_by", "claimed_at"),
    )
    readonly_fields = ("encoder_link", "against_link", "shown_state", "side_by_side", "metrics")

    class Media:
        css = {"all": ("catalog/runs.css", "catalog/encoders.css")}  # noqa: RUF012 - as Django spells it

    def get_queryset(self, request: HttpRequest) -> QuerySet[Evaluation]:
        return super().get_queryset(request).select_related("encoder", "against", "evaluation_set").defer("samples")

    @admin.display(description="Evaluation", ordering="encoder__name")
    def title(self, evaluation: Evaluation) -> str:
        return f"{evaluation.encoder} against {evaluation.against}" if evaluation.against else str(evaluation.encoder)

    @display(description="State", ordering="state", label=EVALUATION_COLOURS)  # type: ignore[untyped-decorator]
    def shown_state(self, evaluation: Evaluation) -> str:
        return evaluation.state

    @admin.display(description="Key metrics")
    def key_metrics(self, evaluation: Evaluation) -> str:
        rows = key_metrics(evaluation.encoder.kind, evaluation.report.get("figures") or {})
        return ", ".join(f"{row.short_name} {row.value.text}" for row in rows if row.value)

    @admin.display(description="Stage or reason of failure")
    def progress(self, evaluation: Evaluation) -> str:
        return evaluation.reason or evaluation.stage

    @admin.display(description="Encoder")
    def encoder_link(self, evaluation: Evaluation) -> SafeString:
        return link_to(evaluation.encoder, "admin:catalog_encoder_change")

    @admin.display(description="Against")
    def against_link(self, evaluation: Evaluation) -> SafeString | str:
        return link_to(evaluation.against, "admin:catalog_encoder_change") if evaluation.against else "none"

    @admin.display(description="Comparison")
    def side_by_side(self, evaluation: Evaluation) -> SafeString | str:
        if evaluation.against is None:
            return "Measured without a second encoder."
        page = reverse("admin:catalog_encoder_compare", args=[evaluation.encoder_id])
        markup = '<a class="text-link underline" href="{}?against={}">Metrics, labels and photos</a>'
        return format_html(markup, page, evaluation.against_id)

    @admin.display(description="Metrics (95 % interval)")
    def metrics(self, evaluation: Evaluation) -> SafeString | str:
        rows = [
            (row.name, row.value.text, row.value.interval) for row in compare_metrics(evaluation.report) if row.value
        ]
        return html_table(("Metric", "Value", "Interval"), rows) if rows else "None yet."
