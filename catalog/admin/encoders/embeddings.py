"""Admin of embeddings: the vectors of item photos, read-only."""

import struct

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString

from catalog.admin.base import ReadOnlyAdmin, breakable
from catalog.models import Embedding

SHOWN = 6  # numbers of a vector that are displayed


@admin.register(Embedding)
class EmbeddingAdmin(ReadOnlyAdmin[Embedding]):
    """Embeddings with the first numbers of their vectors."""

    list_display = ("id", "item", "photo", "encoder", "numbers", "created_at")
    list_filter = ("encoder",)
    list_select_related = ("item", "photo", "encoder")
    show_full_result_count = False  # one row per photo and encoder: counting all is slow
    search_fields = ("item__name", "item__external_id")
    fields = ("item", "photo", "encoder", "numbers", "hash", "created_at")
    readonly_fields = fields

    def get_queryset(self, request: HttpRequest) -> QuerySet[Embedding]:
        return super().get_queryset(request).select_related("item", "photo", "encoder")

    @admin.display(description="Vector")
    def numbers(self, embedding: Embedding) -> str:
        count = len(embedding.vector) // 4
        first = struct.unpack_from(f"<{min(count, SHOWN)}f", embedding.vector)
        rest = f", … ({count} numbers)" if count > SHOWN else ""
        return ", ".join(f"{number:.3f}" for number in first) + rest

    @admin.display(description="SHA-256 of the picture")
    def hash(self, embedding: Embedding) -> SafeString:
        return breakable(embedding.source_sha256)
