"""Pictures: where to get them, and how large they are."""

from django.urls import reverse
from rest_framework import serializers

from catalog.models import ItemPhoto, UploadedPhoto


class ItemPhotoSerializer(serializers.ModelSerializer[ItemPhoto]):
    url = serializers.SerializerMethodField(help_text="Public; add ?w=160, 320 or 640 for a smaller one.")

    class Meta:
        model = ItemPhoto
        fields = ("id", "url", "width", "height")
        read_only_fields = fields

    def get_url(self, photo: ItemPhoto) -> str:
        return str(self.context["request"].build_absolute_uri(reverse("item-photo", args=[photo.pk])))


class UploadedPhotoSerializer(serializers.ModelSerializer[UploadedPhoto]):
    url = serializers.SerializerMethodField(help_text="Answers only to whoever sent the photo.")

    class Meta:
        model = UploadedPhoto
        fields = ("id", "url", "width", "height")
        read_only_fields = fields

    def get_url(self, photo: UploadedPhoto) -> str:
        return str(self.context["request"].build_absolute_uri(reverse("uploaded-photo", args=[photo.pk])))
