"""Pictures: where to get them, and how large they are."""

from collections.abc import Callable
from typing import Any

from django.utils.functional import cached_property
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from catalog.api.fields import PhotoField, StrictSerializer
from catalog.models import ItemPhoto, UploadedPhoto
from catalog.photos.links import item_photo_paths, signed_path
from catalog.photos.thumbnails import WIDTHS

MOMENT = serializers.DateTimeField()
THUMBNAILS = {
    "type": "object",
    "properties": {width: {"type": "string", "format": "uri"} for width in WIDTHS},
    "required": list(WIDTHS),
    "readOnly": True,
}


class PictureSerializer(serializers.ModelSerializer[Any]):
    """What both kinds of picture have in common; the address is the kind's own."""

    url = serializers.SerializerMethodField()
    thumbnails = serializers.SerializerMethodField(help_text="The same picture, at most so many pixels wide.")

    @cached_property
    def site(self) -> str:
        request = self.context["request"]
        return f"{request.scheme}://{request.get_host()}"

    @extend_schema_field({"type": "string", "format": "uri"})
    def get_url(self, photo: Any) -> str:
        return self.site + self.path_of(photo)

    @extend_schema_field(THUMBNAILS)
    def get_thumbnails(self, photo: Any) -> dict[str, str]:
        return _thumbnails(self.get_url(photo))

    def path_of(self, photo: Any) -> str:
        raise NotImplementedError


class ItemPhotoSerializer(PictureSerializer):
    url = serializers.SerializerMethodField(help_text="Public, and never another picture.")

    class Meta:
        model = ItemPhoto
        fields = ("id", "url", "thumbnails", "width", "height")
        read_only_fields = fields

    @cached_property
    def paths(self) -> Callable[[int], str]:
        return item_photo_paths()

    def path_of(self, photo: ItemPhoto) -> str:
        return self.paths(photo.pk)

    def to_representation(self, photo: ItemPhoto) -> dict[str, Any]:
        """The same that the fields would say, twenty times as fast: an answer has dozens of these."""
        url = self.get_url(photo)
        return {
            "id": photo.pk,
            "url": url,
            "thumbnails": _thumbnails(url),
            "width": photo.width,
            "height": photo.height,
        }


class UploadedPhotoSerializer(PictureSerializer):
    url = serializers.SerializerMethodField(
        help_text="Signed: opens without a token for one to two hours. Ask again for a fresh one."
    )

    class Meta:
        model = UploadedPhoto
        fields: tuple[str, ...] = ("id", "url", "thumbnails", "width", "height", "may_train")
        read_only_fields = fields

    def path_of(self, photo: UploadedPhoto) -> str:
        return signed_path(photo.pk)

    def to_representation(self, photo: UploadedPhoto) -> dict[str, Any]:
        """The same that the fields would say, many times as fast, and with one signature."""
        url = self.get_url(photo)
        return {
            "id": str(photo.pk),
            "url": url,
            "thumbnails": _thumbnails(url),
            "width": photo.width,
            "height": photo.height,
            "may_train": photo.may_train,
        }


class PhotoSerializer(UploadedPhotoSerializer):
    """An uploaded photo as a thing of its own."""

    class Meta(UploadedPhotoSerializer.Meta):
        fields = (*UploadedPhotoSerializer.Meta.fields, "size", "created_at", "expires_at")
        read_only_fields = fields

    def to_representation(self, photo: UploadedPhoto) -> dict[str, Any]:
        moments = {name: MOMENT.to_representation(getattr(photo, name)) for name in ("created_at", "expires_at")}
        return super().to_representation(photo) | {"size": photo.size} | moments


def _thumbnails(url: str) -> dict[str, str]:
    mark = "&" if "?" in url else "?"
    return {width: f"{url}{mark}w={width}" for width in WIDTHS}


class PhotoUploadSerializer(StrictSerializer):
    """A photo to keep, for queries to come."""

    photo = PhotoField(help_text="A picture, in base64; line breaks and a data: prefix do not matter.")


class PhotoFormSerializer(serializers.Serializer[Any]):
    """The same as a multipart form. Only for the schema: one serializer reads both."""

    photo = serializers.FileField(help_text="JPEG, PNG, WebP, AVIF, HEIC or GIF.")
