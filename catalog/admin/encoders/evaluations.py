"""What encoders are compared on, and the comparisons."""

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

from catalog.admin.base import ReadOnlyAdmin, link_to, staff_of, table
from catalog.admin.encoders.figures import compared, key_figures
from catalog.errors import Refused
from catalog.models import Evaluation, EvaluationSet, EvaluationState
from catalog.services.datasets.evaluation_sets import SHARE, evaluation_set_draw

LABELS = {
    EvaluationState.QUEUED: "info",
    EvaluationState.RUNNING: "primary",
    EvaluationState.DONE: "success",
    EvaluationState.FAILED: "danger",
}
PURPOSE = (
    "Encoders are compared on its items. They never enter a training, nor do photos that equal one of theirs, also when"
    " another set is the current one; and once drawn a set never changes, so that its figures stay comparable."
)


class DrawForm(forms.Form):
    """What a new set is to be. Whatever is wrong is told at the field, and nothing is drawn."""

    name = forms.CharField(
        required=False, max_length=100, widget=UnfoldAdminTextInputWidget, help_text="Empty: one is made up."
    )
    share = forms.IntegerField(
        label="Share of the items, in per cent",
        min_value=1,
        max_value=50,
        initial=round(100 * SHARE),
        widget=UnfoldAdminIntegerFieldWidget,
        help_text="Not asked where items were imported with a split: then those with “val” are taken, else “test”.",
    )

    def draw(self, request: HttpRequest) -> EvaluationSet | None:
        """None where the service refused; the form says why."""
        try:
            name, share = self.cleaned_data["name"], self.cleaned_data["share"] / 100
            return evaluation_set_draw(name=name, share=share, by=staff_of(request))
        except Refused as refused:
            field = {"evaluation_set_exists": "name", "bad_share": "share"}.get(refused.code)
            self.add_error(field, refused.detail)
            return None


@admin.register(EvaluationSet)
class EvaluationSetAdmin(ReadOnlyAdmin[EvaluationSet]):
    list_display = ("name", "current", "items_count", "comparisons", "created_by", "created_at")
    list_select_related = ("created_by",)
    search_fields = ("name",)
    fields = ("name", "current", "purpose", "labels", "comparisons", "created_by", "created_at")
    readonly_fields = fields

    class Media:
        css = {"all": ("catalog/runs.css", "catalog/encoders.css")}  # noqa: RUF012 - as Django spells it

    def get_queryset(self, request: HttpRequest) -> QuerySet[EvaluationSet]:
        counts = {
            "items_in_it": Count("members", distinct=True),
            "evaluations_on_it": Count("evaluations", distinct=True),
        }
        return super().get_queryset(request).annotate(**counts)

    @display(description="Used now", boolean=True)  # type: ignore[untyped-decorator]
    def current(self, drawn: EvaluationSet) -> bool:
        return drawn.is_current

    @admin.display(description="Items")
    def items_count(self, drawn: Any) -> int:
        count: int = drawn.items_in_it
        return count

    @admin.display(description="Evaluations on it")
    def comparisons(self, drawn: Any) -> SafeString:
        page = reverse("admin:catalog_evaluation_changelist")
        markup = '<a class="text-link underline" href="{}?evaluation_set__id__exact={}">{}</a>'
        return format_html(markup, page, drawn.pk, drawn.evaluations_on_it)

    @admin.display(description="What it is for")
    def purpose(self, drawn: EvaluationSet) -> str:
        return PURPOSE

    @admin.display(description="Items by category")
    def labels(self, drawn: EvaluationSet) -> SafeString:
        counted = drawn.items.values_list("category").annotate(
            items=Count("pk", distinct=True), pictures=Count("photos")
        )
        rows = counted.order_by("-items", "category")
        return table(("Category", "Items", "Photos"), ((name or "none", *counts) for name, *counts in rows))

    def get_urls(self) -> list[URLPattern]:
        draw = path("draw/", self.admin_site.admin_view(self.draw), name="catalog_evaluationset_draw")
        return [draw, *super().get_urls()]

    def draw(self, request: HttpRequest) -> HttpResponse:
        if not request.user.has_perm("catalog.add_evaluationset"):
            raise PermissionDenied
        form = DrawForm(request.POST) if request.method == "POST" else DrawForm()
        if form.is_bound and form.is_valid() and (drawn := form.draw(request)):
            messages.success(request, f"{drawn} is drawn; encoders are compared on it from now on.")
            return redirect("admin:catalog_evaluationset_change", drawn.pk)
        frame = {**self.admin_site.each_context(request), "opts": self.opts, "media": self.media}
        context = {"title": "Draw an evaluation set", "form": form, "purpose": PURPOSE}
        return render(request, "admin/catalog/evaluationset/draw.html", frame | context)


@admin.register(Evaluation)
class EvaluationAdmin(ReadOnlyAdmin[Evaluation]):
    """Encoders that were measured, alone or beside another. The encoder's own page asks for one."""

    list_display = ("shown", "shown_state", "key", "what", "evaluation_set", "created_at", "finished_at")
    list_display_links = ("shown",)
    list_filter = ("state", "evaluation_set")
    list_select_related = ("encoder", "against", "evaluation_set")
    search_fields = ("encoder__name", "against__name", "reason")
    fields = (
        ("encoder_link", "against_link", "evaluation_set"),
        ("shown_state", "stage", "reason"),
        "side_by_side",
        "figures",
        ("created_at", "finished_at"),
        ("attempts", "claimed_by", "claimed_at"),
    )
    readonly_fields = ("encoder_link", "against_link", "shown_state", "side_by_side", "figures")

    class Media:
        css = {"all": ("catalog/runs.css", "catalog/encoders.css")}  # noqa: RUF012 - as Django spells it

    def get_queryset(self, request: HttpRequest) -> QuerySet[Evaluation]:
        return super().get_queryset(request).select_related("encoder", "against", "evaluation_set").defer("samples")

    @admin.display(description="Evaluation", ordering="encoder__name")
    def shown(self, evaluation: Evaluation) -> str:
        return f"{evaluation.encoder} against {evaluation.against}" if evaluation.against else str(evaluation.encoder)

    @display(description="State", ordering="state", label=LABELS)  # type: ignore[untyped-decorator]
    def shown_state(self, evaluation: Evaluation) -> str:
        return evaluation.state

    @admin.display(description="Key figures")
    def key(self, evaluation: Evaluation) -> str:
        rows = key_figures(evaluation.encoder.kind, evaluation.report.get("figures") or {})
        return ", ".join(f"{row.short} {row.ours.text}" for row in rows if row.ours)

    @admin.display(description="Stage, or why it failed")
    def what(self, evaluation: Evaluation) -> str:
        return evaluation.reason or evaluation.stage

    @admin.display(description="Encoder")
    def encoder_link(self, evaluation: Evaluation) -> SafeString:
        return link_to(evaluation.encoder, "admin:catalog_encoder_change")

    @admin.display(description="Against")
    def against_link(self, evaluation: Evaluation) -> SafeString | str:
        return link_to(evaluation.against, "admin:catalog_encoder_change") if evaluation.against else "none"

    @admin.display(description="Both side by side")
    def side_by_side(self, evaluation: Evaluation) -> SafeString | str:
        if evaluation.against is None:
            return "It was measured alone."
        page = reverse("admin:catalog_encoder_compare", args=[evaluation.encoder_id])
        markup = '<a class="text-link underline" href="{}?against={}">Figures, labels and photos</a>'
        return format_html(markup, page, evaluation.against_id)

    @admin.display(description="Figures (95 % interval)")
    def figures(self, evaluation: Evaluation) -> SafeString | str:
        rows = [(row.words, row.ours.text, row.ours.interval) for row in compared(evaluation.report) if row.ours]
        return table(("Figure", "Value", "Interval"), rows) if rows else "None yet."
