"""Admin of similarity queries, their recommendations and webhook deliveries."""

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString
from unfold.decorators import display

from catalog.admin.base import ReadOnlyAdmin, ReadOnlyInline, html_table, thumbnail
from catalog.models import QueryState, Recommendation, SimilarityQuery, WebhookDelivery

STEPS = ("receive", "fetch", "clean", "queue", "embed", "search", "write", "total")  # in the order they run
STATE_COLOURS = {QueryState.DONE: "success", QueryState.FAILED: "danger", QueryState.QUEUED: "info"}


class WebhookInline(ReadOnlyInline[WebhookDelivery]):
    """The webhook deliveries of a query."""

    model = WebhookDelivery
    fields = ("url", "state", "attempts", "next_at", "delivered_at", "error")
    readonly_fields = fields


class RecommendationInline(ReadOnlyInline[Recommendation]):
    """The ranked results of a query."""

    model = Recommendation
    fields = ("rank", "picture", "item", "similarity", "probability_percent", "why")
    readonly_fields = fields
    ordering = ("rank",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Recommendation]:
        return super().get_queryset(request).select_related("item", "photo", "query")

    @admin.display(description="Matched picture")
    def picture(self, recommendation: Recommendation) -> SafeString | str:
        return thumbnail(recommendation.photo, height=110)

    @admin.display(description="Score")
    def similarity(self, recommendation: Recommendation) -> str:
        return f"{recommendation.score:.3f}"

    @admin.display(description="Probability of the same item")
    def probability_percent(self, recommendation: Recommendation) -> str:
        return "" if recommendation.probability is None else f"{recommendation.probability:.0%}"


@admin.register(SimilarityQuery)
class SimilarityQueryAdmin(ReadOnlyAdmin[SimilarityQuery]):
    """Queries with their settings, timings and results. The query photo is private and not shown."""

    list_display = ("id", "shown_state", "outcome", "k", "encoder", "total", "error_code", "attempts", "created_at")
    list_filter = ("state", "outcome", "error_code", "encoder", "created_at")
    list_select_related = ("encoder", "owner", "photo", "item")
    search_fields = ("id", "error_code", "owner__username")
    date_hierarchy = "created_at"
    fields = (
        ("shown_state", "outcome", "encoder"),
        ("error_code", "error_detail"),
        ("k", "diversity", "min_score"),
        "filters",
        ("photo", "item"),
        ("source_url", "crop"),
        "guess",
        ("created_at", "finished_at"),
        "timings_table",
        ("attempts", "nudged_at"),
        ("claimed_by", "claimed_at"),
    )
    inlines = (RecommendationInline, WebhookInline)

    def get_queryset(self, request: HttpRequest) -> QuerySet[SimilarityQuery]:
        return super().get_queryset(request).defer("vector")

    @display(description="State", ordering="state", label=STATE_COLOURS)  # type: ignore[untyped-decorator]
    def shown_state(self, query: SimilarityQuery) -> str:
        return query.state

    @admin.display(description="Response time")
    def total(self, query: SimilarityQuery) -> str:
        return f"{query.timings['total'] / 1000:.2f} s" if "total" in query.timings else ""

    @admin.display(description="Timings")
    def timings_table(self, query: SimilarityQuery) -> SafeString:
        steps = sorted(query.timings.items(), key=lambda entry: STEPS.index(entry[0]) if entry[0] in STEPS else -1)
        return html_table(
            ("Step", "Milliseconds"), ((step.capitalize(), f"{milliseconds:.1f}") for step, milliseconds in steps)
        )


@admin.register(Recommendation)
class RecommendationAdmin(ReadOnlyAdmin[Recommendation]):
    """The results of all queries."""

    list_display = ("query", "rank", "picture", "item", "similarity")
    list_display_links = ("query", "rank")
    list_select_related = ("query", "item", "photo")
    show_full_result_count = False
    search_fields = ("query__id", "item__name", "item__external_id")
    fields = ("query", "rank", "picture", "item", "photo", "score", "probability", "why")
    readonly_fields = ("picture",)

    @admin.display(description="Matched picture")
    def picture(self, recommendation: Recommendation) -> SafeString | str:
        return thumbnail(recommendation.photo)

    @admin.display(description="Score", ordering="score")
    def similarity(self, recommendation: Recommendation) -> str:
        return f"{recommendation.score:.3f}"
