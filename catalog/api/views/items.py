"""The catalogue, to read."""

from functools import reduce
from operator import and_
from typing import Any

from django.db.models import Q
from drf_spectacular.utils import extend_schema
from rest_framework.generics import ListAPIView, RetrieveAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from catalog.api.pagination import ById
from catalog.api.permissions import EVERYBODY
from catalog.api.schema import problems
from catalog.api.serializers.items import ItemDetailSerializer, ItemSerializer, ItemWishSerializer
from catalog.models import CatalogItem
from catalog.models.items import FILTER_LOOKUPS

WISHES = (*FILTER_LOOKUPS, "search")
SEARCHED = ("name", "brand", "category", "external_id")


class ItemList(ListAPIView[CatalogItem]):
    """The items that can be found, filtered as in a query; every word of `search` must occur."""

    scopes = EVERYBODY
    serializer_class = ItemSerializer
    pagination_class = ById

    @extend_schema(
        operation_id="item_list",
        tags=["items"],
        parameters=[ItemWishSerializer],
        responses={200: ItemSerializer(many=True), **problems(400, 401, 404)},
    )
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().get(request, *args, **kwargs)

    def get_queryset(self) -> Any:
        given = {name: text for name, text in self.request.query_params.items() if text and name in WISHES}
        filters = _checked(given) if given else {}
        words = filters.pop("search", "").split()
        found = CatalogItem.objects.matching(filters)
        return (found.filter(_contain(words)) if words else found).with_photos()


class ItemDetail(RetrieveAPIView[CatalogItem]):
    """One item with all its photos."""

    scopes = EVERYBODY
    serializer_class = ItemDetailSerializer
    queryset = CatalogItem.objects.findable()

    @extend_schema(operation_id="item", tags=["items"], responses={200: ItemDetailSerializer, **problems(401, 404)})
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().get(request, *args, **kwargs)


def _checked(given: dict[str, Any]) -> dict[str, Any]:
    wish = ItemWishSerializer(data=given)
    wish.is_valid(raise_exception=True)
    filters: dict[str, Any] = wish.validated_data
    return filters


def _contain(words: list[str]) -> Q:
    each = (reduce(Q.__or__, (Q((f"{name}__icontains", word)) for name in SEARCHED)) for word in words)
    return reduce(and_, each, Q())
