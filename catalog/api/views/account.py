"""Endpoints of my account: read, change, export, delete."""

from django.http import FileResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from catalog.api.authentication import current_user
from catalog.api.permissions import PERSONAL_SCOPES
from catalog.api.renderers import Zip
from catalog.api.schema import problems
from catalog.api.serializers.accounts import MeChangeSerializer, MeDeleteSerializer, MeSerializer, ReceiptSerializer
from catalog.services.accounts.exports import export_create
from catalog.services.accounts.users import password_require, user_delete, user_update


class Me(APIView):
    """My account."""

    scopes = PERSONAL_SCOPES
    throttle_scope = "sign-in"  # unsafe requests check the password

    @extend_schema(operation_id="me", tags=["account"], responses={200: MeSerializer, **problems(401, 403, 429)})
    def get(self, request: Request) -> Response:
        return Response(MeSerializer(current_user(request)).data)

    @extend_schema(
        operation_id="me_change",
        tags=["account"],
        description="Change the given fields. A new email address requires the `password`.",
        request=MeChangeSerializer,
        responses={200: MeSerializer, **problems(400, 401, 403, 409, 411, 413, 415, 429)},
    )
    def patch(self, request: Request) -> Response:
        serializer = MeChangeSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        user = user_update(user=current_user(request), request=request._request, **serializer.validated_data)
        return Response(MeSerializer(user).data)

    @extend_schema(
        operation_id="me_delete",
        tags=["account"],
        description="Delete the account with all its data: photos, queries and answers, favourites, devices and "
        "sessions. The response counts the deleted rows. This cannot be undone.",
        request=MeDeleteSerializer,
        responses={200: ReceiptSerializer, **problems(400, 401, 403, 411, 413, 415, 429)},
    )
    def delete(self, request: Request) -> Response:
        serializer = MeDeleteSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        user = current_user(request)
        password_require(user=user, request=request._request, **serializer.validated_data)
        return Response(ReceiptSerializer(user_delete(user=user)).data)


class Export(APIView):
    """All data stored about me: a ZIP archive of JSON files and my photos."""

    scopes = PERSONAL_SCOPES
    renderer_classes = (Zip, JSONRenderer)

    @extend_schema(
        operation_id="me_export",
        tags=["account"],
        responses={(200, Zip.media_type): OpenApiTypes.BINARY, **problems(401, 403, 429, 507)},
    )
    def get(self, request: Request) -> FileResponse:
        archive = export_create(user=current_user(request))
        return FileResponse(archive, as_attachment=True, filename="clothes-matcher.zip", content_type=Zip.media_type)
