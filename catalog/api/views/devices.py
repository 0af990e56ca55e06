"""Endpoints of my signed-in devices."""

from typing import Any

from django.http import Http404
from drf_spectacular.utils import extend_schema
from knox.models import AuthToken
from rest_framework import status
from rest_framework.generics import GenericAPIView, ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from catalog.api.authentication import current_user
from catalog.api.pagination import Pages
from catalog.api.permissions import PERSONAL_SCOPES
from catalog.api.schema import problems
from catalog.api.serializers.accounts import DeviceChangeSerializer, DeviceSerializer
from catalog.services.accounts.devices import device_get, device_rename, devices_active


class LatestFirst(Pages):
    """Tokens by creation time, newest first."""

    ordering = "-created"


class DeviceList(ListAPIView[AuthToken]):
    """My signed-in devices, latest first."""

    scopes = PERSONAL_SCOPES
    serializer_class = DeviceSerializer
    pagination_class = LatestFirst

    def get_queryset(self) -> Any:
        return devices_active(user=current_user(self.request))

    @extend_schema(
        operation_id="device_list",
        tags=["account"],
        responses={200: DeviceSerializer(many=True), **problems(400, 401, 403, 404, 429)},
    )
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().get(request, *args, **kwargs)


class DeviceDetail(GenericAPIView[AuthToken]):
    """One of my signed-in devices."""

    scopes = PERSONAL_SCOPES
    serializer_class = DeviceSerializer

    def get_object(self) -> AuthToken:
        token = device_get(user=current_user(self.request), id=self.kwargs["id"])
        if token is None:
            raise Http404
        return token

    @extend_schema(
        operation_id="device", tags=["account"], responses={200: DeviceSerializer, **problems(401, 403, 404, 429)}
    )
    def get(self, request: Request, id: str) -> Response:
        return Response(self.get_serializer(self.get_object()).data)

    @extend_schema(
        operation_id="device_rename",
        tags=["account"],
        request=DeviceChangeSerializer,
        responses={200: DeviceSerializer, **problems(400, 401, 403, 404, 411, 413, 415, 429)},
    )
    def patch(self, request: Request, id: str) -> Response:
        token = self.get_object()
        serializer = DeviceChangeSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        if serializer.validated_data:
            token = device_rename(token=token, **serializer.validated_data)
        return Response(self.get_serializer(token).data)

    @extend_schema(
        operation_id="device_sign_out",
        tags=["account"],
        description="Sign the device out: its token becomes invalid.",
        responses={204: None, **problems(401, 403, 404, 429)},
    )
    def delete(self, request: Request, id: str) -> Response:
        self.get_object().delete()
        return Response(status=status.HTTP_204_NO_CONTENT)
