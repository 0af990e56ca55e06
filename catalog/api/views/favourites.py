"""Endpoints of my favourite items."""

from typing import Any

from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.generics import ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from catalog.api.authentication import current_user
from catalog.api.pagination import NewestFirst
from catalog.api.permissions import PERSONAL_SCOPES
from catalog.api.schema import problems
from catalog.api.serializers.accounts import FavouriteSerializer
from catalog.models import CatalogItem, Favourite
from catalog.services.accounts.favourites import favourite_add, favourite_remove, favourites_of


class FavouriteList(ListAPIView[Favourite]):
    """My favourite items, latest first, without items removed from the catalogue."""

    scopes = PERSONAL_SCOPES
    serializer_class = FavouriteSerializer
    pagination_class = NewestFirst

    def get_queryset(self) -> Any:
        return favourites_of(user=current_user(self.request))

    @extend_schema(
        operation_id="favourite_list",
        tags=["favourites"],
        responses={200: FavouriteSerializer(many=True), **problems(400, 401, 403, 404, 429)},
    )
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().get(request, *args, **kwargs)


class FavouriteDetail(APIView):
    """Add or remove a favourite item. Both are idempotent."""

    scopes = PERSONAL_SCOPES

    @extend_schema(
        operation_id="favourite_keep",
        tags=["favourites"],
        request=None,
        responses={200: FavouriteSerializer, 201: FavouriteSerializer, **problems(401, 403, 404, 429)},
    )
    def put(self, request: Request, item_id: int) -> Response:
        item = get_object_or_404(CatalogItem.objects.findable(), pk=item_id)
        is_new = favourite_add(user=current_user(request), item=item)
        favourite = favourites_of(user=current_user(request)).get(item=item)
        body = FavouriteSerializer(favourite, context={"request": request}).data
        return Response(body, status=status.HTTP_201_CREATED if is_new else status.HTTP_200_OK)

    @extend_schema(
        operation_id="favourite_drop",
        tags=["favourites"],
        responses={204: None, **problems(401, 403, 404, 429)},
    )
    def delete(self, request: Request, item_id: int) -> Response:
        favourite_remove(user=current_user(request), item_id=item_id)
        return Response(status=status.HTTP_204_NO_CONTENT)
