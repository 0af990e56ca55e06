"""Endpoints of my uploaded photos."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.generics import ListAPIView, RetrieveDestroyAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.reverse import reverse

from catalog.api.authentication import current_user
from catalog.api.pagination import NewestFirst
from catalog.api.parsers import PHOTO_PARSERS
from catalog.api.permissions import ANY_SCOPE
from catalog.api.schema import RAW_PHOTO, problems, response_header
from catalog.api.serializers.photos import PhotoFormSerializer, PhotoSerializer, PhotoUploadSerializer
from catalog.models import UploadedPhoto
from catalog.services.uploads import upload_create, upload_delete


class PhotoList(ListAPIView[UploadedPhoto]):
    """My uploaded photos, newest first; upload a photo without a query."""

    serializer_class = PhotoSerializer
    pagination_class = NewestFirst
    parser_classes = PHOTO_PARSERS
    scopes = ANY_SCOPE
    throttle_scope = "upload"

    def get_queryset(self) -> Any:
        return UploadedPhoto.objects.owned_by(owner=current_user(self.request)).unexpired()

    @extend_schema(
        operation_id="photo_list",
        tags=["photos"],
        responses={200: PhotoSerializer(many=True), **problems(400, 401, 403, 404, 429)},
    )
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().get(request, *args, **kwargs)

    @extend_schema(
        operation_id="photo_create",
        tags=["photos"],
        description="Send a form, base64 in JSON, or the picture itself as the body. 201 for a new photo; 200 with the "
        "earlier photo, whose expiry is extended, for bytes sent before.",
        parameters=[response_header("Location", "URL of the photo.", 200, 201)],
        request={
            "multipart/form-data": PhotoFormSerializer,
            "application/json": PhotoUploadSerializer,
            "image/*": RAW_PHOTO,
            "application/octet-stream": RAW_PHOTO,
        },
        responses={
            200: PhotoSerializer,
            201: PhotoSerializer,
            **problems(400, 401, 403, 410, 411, 413, 415, 429, 507),
        },
    )
    def post(self, request: Request) -> Response:
        serializer = PhotoUploadSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        photo, is_new = upload_create(raw=serializer.validated_data["photo"], owner=current_user(request))
        return Response(
            self.get_serializer(photo).data,
            status=status.HTTP_201_CREATED if is_new else status.HTTP_200_OK,
            headers={"Location": reverse("api:photo", args=[photo.pk], request=request)},
        )


class PhotoDetail(RetrieveDestroyAPIView[UploadedPhoto]):
    """One of my uploaded photos."""

    serializer_class = PhotoSerializer
    scopes = ANY_SCOPE

    def get_queryset(self) -> Any:
        return UploadedPhoto.objects.owned_by(owner=current_user(self.request)).unexpired()

    @extend_schema(
        operation_id="photo", tags=["photos"], responses={200: PhotoSerializer, **problems(401, 403, 404, 429)}
    )
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().get(request, *args, **kwargs)

    @extend_schema(
        operation_id="photo_delete",
        tags=["photos"],
        description="Delete the photo and its queries with their answers. Its URLs return 404 afterwards.",
        responses={204: None, **problems(401, 403, 404, 429)},
    )
    def delete(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().delete(request, *args, **kwargs)

    def perform_destroy(self, instance: UploadedPhoto) -> None:
        upload_delete(photo=instance)
