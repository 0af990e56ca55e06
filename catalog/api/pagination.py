"""Pages that stay right while rows are added: each names the last row seen."""

from collections.abc import Sequence
from typing import Any

from django.core.exceptions import ValidationError as DjangoValidationError
from django.db.models import QuerySet
from rest_framework.exceptions import NotFound
from rest_framework.pagination import CursorPagination
from rest_framework.request import Request
from rest_framework.views import APIView

from catalog.errors import Refused


class Pages(CursorPagination):
    page_size = 20
    max_page_size = 100
    page_size_query_param = "page_size"

    def paginate_queryset(
        self, queryset: QuerySet[Any] | Sequence[Any], request: Request, view: APIView | None = None
    ) -> list[Any] | None:
        # A cursor names a value of a column. One that was tampered with fails in the lookup, in several ways.
        try:
            return super().paginate_queryset(queryset, request, view)
        except (NotFound, DjangoValidationError, ValueError, TypeError, OverflowError):
            raise Refused("invalid_cursor", "This cursor is not one of ours. Start from the first page.") from None

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        described: dict[str, Any] = super().get_paginated_response_schema(schema)
        for name in ("next", "previous"):  # null on the last and the first page, said as OpenAPI 3.1 does
            described["properties"][name] = {"type": ["string", "null"], "format": "uri"}
        return described | {"required": ["next", "previous", "results"]}


class NewestFirst(Pages):
    ordering = "-created_at"


class ById(Pages):
    ordering = "id"
