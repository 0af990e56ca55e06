"""Pages that stay right while rows are added: each names the last row seen."""

from collections.abc import Sequence
from typing import Any

from django.core.exceptions import ValidationError as DjangoValidationError
from django.db.models import QuerySet
from django.utils.translation import gettext as _
from rest_framework import serializers
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
            message = _("This cursor is not one of ours. Start from the first page.")
            raise Refused("invalid_cursor", message, status=404) from None

    def get_page_size(self, request: Request) -> int:
        """Refuses what is no number of rows: another number than the one asked for would be a surprise."""
        asked = request.query_params.get(self.page_size_query_param)
        if asked is None:
            return self.page_size
        size = serializers.IntegerField(min_value=1, max_value=self.max_page_size)
        try:
            return int(size.run_validation(asked))
        except serializers.ValidationError as error:
            raise serializers.ValidationError({self.page_size_query_param: error.detail}) from None

    def get_schema_operation_parameters(self, view: APIView) -> list[dict[str, Any]]:
        described: list[dict[str, Any]] = super().get_schema_operation_parameters(view)
        for parameter in described:
            if parameter["name"] == self.page_size_query_param:
                limits = {"minimum": 1, "maximum": self.max_page_size, "default": self.page_size}
                parameter["schema"] = {"type": "integer"} | limits
        return described

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        described: dict[str, Any] = super().get_paginated_response_schema(schema)
        for name in ("next", "previous"):  # null on the last and the first page, said as OpenAPI 3.1 does
            described["properties"][name] = {"type": ["string", "null"], "format": "uri"}
        return described | {"required": ["next", "previous", "results"]}


class NewestFirst(Pages):
    ordering = "-created_at"


class ById(Pages):
    ordering = "id"
