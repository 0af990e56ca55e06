import json

from django.contrib import admin
from django.db.models import Count, OuterRef, QuerySet, Subquery, Value
from django.db.models.functions import Coalesce
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString

from catalog.admin.base import ReadOnlyAdmin
from catalog.models import Embedding, Encoder, ItemPhoto


@admin.register(Encoder)
class EncoderAdmin(ReadOnlyAdmin[Encoder]):
    """Encoders are registered from their folders, so there is nothing to add or change here."""

    list_display = ("name", "kind", "state", "dim", "coverage", "created_at", "promoted_at")
    list_filter = ("state", "kind")
    search_fields = ("name",)
    fields = ("name", "kind", "state", "dim", "coverage", "created_at", "promoted_at", "card_text", "claimed_by")
    readonly_fields = fields

    def get_queryset(self, request: HttpRequest) -> QuerySet[Encoder]:
        mine = Embedding.objects.filter(encoder=OuterRef("pk"), item__deleted_at=None).order_by().values("encoder")
        count = Subquery(mine.annotate(n=Count("pk")).values("n"))
        return super().get_queryset(request).annotate(embedded=Coalesce(count, 0), photos=_embeddable_photos())

    @admin.display(description="Coverage")
    def coverage(self, encoder: Encoder) -> str:
        return f"{encoder.embedded} of {encoder.photos} photos"  # type: ignore[attr-defined]  # annotated above

    @admin.display(description="Card")
    def card_text(self, encoder: Encoder) -> SafeString:
        markup = '<pre style="white-space: pre-wrap; overflow-wrap: anywhere">{}</pre>'
        return format_html(markup, json.dumps(encoder.card, indent=2, ensure_ascii=False))


def _embeddable_photos() -> Coalesce:
    photos = ItemPhoto.objects.filter(item__deleted_at=None, problem="").order_by().values(one=Value(1))
    return Coalesce(Subquery(photos.annotate(n=Count("pk")).values("n")), 0)
