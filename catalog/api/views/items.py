"""Endpoints of catalogue items."""

from functools import reduce
from operator import and_
from typing import Any

from django.db.models import Q
from drf_spectacular.utils import extend_schema
from rest_framework.generics import ListAPIView, RetrieveAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from catalog.api.pagination import ById
from catalog.api.permissions import ANY_SCOPE
from catalog.api.schema import problems
from catalog.api.serializers.items import ItemDetailSerializer, ItemParametersSerializer, ItemSerializer
from catalog.models import CatalogItem
from catalog.models.items import FILTER_LOOKUPS

PARAMETERS = (*FILTER_LOOKUPS, "search")
SEARCH_COLUMNS = ("name", "brand", "category", "external_id")


class ItemList(ListAPIView[CatalogItem]):
    """Items of the catalogue, with the filters of a query; every word of `search` must occur."""

    scopes = ANY_SCOPE
    serializer_class = ItemSerializer
    pagination_class = ById

    @extend_schema(
        operation_id="item_list",
        tags=["items"],
        parameters=[ItemParametersSerializer],
        responses={200: ItemSerializer(many=True), **problems(400, 401, 404)},
    )
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().get(request, *args, **kwargs)

    def get_queryset(self) -> Any:
        parameters = {name: text for name, text in self.request.query_params.items() if text and name in PARAMETERS}
        filters = _validated(parameters) if parameters else {}
        words = filters.pop("search", "").split()
        items = CatalogItem.objects.matching(filters)
        return (items.filter(_contain(words)) if words else items).with_photos()


class ItemDetail(RetrieveAPIView[CatalogItem]):
    """One item with all its photos."""

    scopes = ANY_SCOPE
    serializer_class = ItemDetailSerializer
    queryset = CatalogItem.objects.findable()

    @extend_schema(operation_id="item", tags=["items"], responses={200: ItemDetailSerializer, **problems(401, 404)})
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().get(request, *args, **kwargs)


def _validated(parameters: dict[str, Any]) -> dict[str, Any]:
    serializer = ItemParametersSerializer(data=parameters)
    serializer.is_valid(raise_exception=True)
    filters: dict[str, Any] = serializer.validated_data
    return filters


def _contain(words: list[str]) -> Q:
    """Return a filter for rows with every word in at least one of the columns."""
    each = (reduce(Q.__or__, (Q((f"{name}__icontains", word)) for name in SEARCH_COLUMNS)) for word in words)
    return reduce(and_, each, Q())
