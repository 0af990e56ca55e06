"""A person's photos, apart from the queries about them."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.generics import ListAPIView, RetrieveDestroyAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.reverse import reverse

from catalog.api.authentication import signed_in
from catalog.api.pagination import NewestFirst
from catalog.api.parsers import PHOTO_PARSERS
from catalog.api.permissions import EVERYBODY
from catalog.api.schema import problems, response_header
from catalog.api.serializers.pictures import PhotoFormSerializer, PhotoSerializer, PhotoUploadSerializer
from catalog.models import UploadedPhoto
from catalog.services.uploads import upload_create, upload_delete

RAW_PHOTO = {"type": "string", "format": "binary"}


class PhotoList(ListAPIView[UploadedPhoto]):
    """My photos, newest first; and the way to send one without asking anything yet."""

    serializer_class = PhotoSerializer
    pagination_class = NewestFirst
    parser_classes = PHOTO_PARSERS
    scopes = EVERYBODY
    throttle_scope = "upload"

    def get_queryset(self) -> Any:
        return UploadedPhoto.objects.owned_by(user=signed_in(self.request)).unexpired()

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
        description="A form, base64 in JSON, or the picture itself as the body. 201 for a new photo; 200 with the "
        "earlier one, which is then kept as long as a new one, if you have sent the same bytes before.",
        parameters=[response_header("Location", "The photo's address.", 200, 201)],
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
        photo, is_new = upload_create(raw=serializer.validated_data["photo"], owner=signed_in(request))
        return Response(
            self.get_serializer(photo).data,
            status=status.HTTP_201_CREATED if is_new else status.HTTP_200_OK,
            headers={"Location": reverse("api:photo", args=[photo.pk], request=request)},
        )


class PhotoDetail(RetrieveDestroyAPIView[UploadedPhoto]):
    """One photo of mine."""

    serializer_class = PhotoSerializer
    scopes = EVERYBODY

    def get_queryset(self) -> Any:
        return UploadedPhoto.objects.owned_by(user=signed_in(self.request)).unexpired()

    @extend_schema(
        operation_id="photo", tags=["photos"], responses={200: PhotoSerializer, **problems(401, 403, 404, 429)}
    )
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().get(request, *args, **kwargs)

    @extend_schema(
        operation_id="photo_delete",
        tags=["photos"],
        description="Deletes its queries with their answers as well. Its addresses answer 404 from then on.",
        responses={204: None, **problems(401, 403, 404, 429)},
    )
    def delete(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().delete(request, *args, **kwargs)

    def perform_destroy(self, instance: UploadedPhoto) -> None:
        upload_delete(photo=instance)
