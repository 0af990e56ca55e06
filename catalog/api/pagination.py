"""Cursor pagination: pages stay correct while rows are added."""

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
    """Base class: 20 rows per page, or `page_size` from 1 to 100."""

    page_size = 20
    max_page_size = 100
    page_size_query_param = "page_size"

    def paginate_queryset(
        self, queryset: QuerySet[Any] | Sequence[Any], request: Request, view: APIView | None = None
    ) -> list[Any] | None:
        # A cursor contains a column value; a forged one fails in the lookup with any of these.
        try:
            return super().paginate_queryset(queryset, request, view)
        except (NotFound, DjangoValidationError, ValueError, TypeError, OverflowError):
            message = _("This cursor is invalid. Start from the first page.")
            raise Refused("invalid_cursor", message, status=404) from None

    def get_page_size(self, request: Request) -> int:
        """Return the page size; refuse an invalid one, where REST framework would use the default."""
        value = request.query_params.get(self.page_size_query_param)
        if value is None:
            return self.page_size
        size = serializers.IntegerField(min_value=1, max_value=self.max_page_size)
        try:
            return int(size.run_validation(value))
        except serializers.ValidationError as error:
            raise serializers.ValidationError({self.page_size_query_param: error.detail}) from None

    def get_schema_operation_parameters(self, view: APIView) -> list[dict[str, Any]]:
        parameters: list[dict[str, Any]] = super().get_schema_operation_parameters(view)
        for parameter in parameters:
            if parameter["name"] == self.page_size_query_param:
                limits = {"minimum": 1, "maximum": self.max_page_size, "default": self.page_size}
                parameter["schema"] = {"type": "integer"} | limits
        return parameters

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        page: dict[str, Any] = super().get_paginated_response_schema(schema)
        for name in ("next", "previous"):  # null on the last and first page; OpenAPI 3.1 notation
            page["properties"][name] = {"type": ["string", "null"], "format": "uri"}
        return page | {"required": ["next", "previous", "results"]}


class NewestFirst(Pages):
    """Rows by creation time, newest first."""

    ordering = "-created_at"


class ById(Pages):
    """Rows by primary key, lowest first."""

    ordering = "id"
