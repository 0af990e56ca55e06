"""Items of the catalogue, and what one may ask of them."""

from typing import Any

from django.utils.functional import cached_property
from django.utils.translation import gettext as _
from rest_framework import serializers

from catalog.api.fields import FiniteFloatField, StrictSerializer
from catalog.api.serializers.pictures import ItemPhotoSerializer
from catalog.models import CatalogItem

MOST = 10**10  # a price has ten digits before its point


class FiltersSerializer(StrictSerializer):
    """What the items of an answer must be; the names are those of `catalog.models.items.FILTER_LOOKUPS`."""

    category = serializers.CharField(required=False, max_length=100)
    brand = serializers.CharField(required=False, max_length=100)
    gender = serializers.CharField(required=False, max_length=50)
    colour = serializers.CharField(required=False, max_length=50)
    # They are kept as JSON beside the query, which knows no decimals; the 12 digits of a price survive in a float.
    min_price = FiniteFloatField(required=False, min_value=0, max_value=MOST)
    max_price = FiniteFloatField(required=False, min_value=0, max_value=MOST)
    in_stock = serializers.BooleanField(required=False)
    collection = serializers.CharField(required=False, max_length=100)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        lowest, highest = attrs.get("min_price"), attrs.get("max_price")
        if lowest is not None and highest is not None and lowest > highest:
            message = _("The lowest price is above the highest.")
            raise serializers.ValidationError({"min_price": serializers.ErrorDetail(message, code="empty_range")})
        return attrs


class ItemWishSerializer(FiltersSerializer):
    """The query parameters of the list of items. Others, such as the pages' own, are not its business."""

    search = serializers.CharField(required=False, max_length=200, help_text="Words of the name, brand or category.")


class ItemSerializer(serializers.ModelSerializer[CatalogItem]):
    # Said to be plain text: an empty one would not fit the format that the model's field stands for.
    url = serializers.CharField(read_only=True, help_text="Its page in the shop; may be empty.")
    photo = ItemPhotoSerializer(
        source="first_photo", read_only=True, allow_null=True, help_text="The one that is shown first."
    )

    class Meta:
        model = CatalogItem
        fields: tuple[str, ...] = (
            "id",
            "external_id",
            "name",
            "category",
            "brand",
            "gender",
            "colour",
            "price",
            "currency",
            "url",
            "collection",
            "in_stock",
            "photo",
        )
        read_only_fields = fields

    @cached_property
    def shown_photo(self) -> ItemPhotoSerializer:
        return ItemPhotoSerializer(context=self.context)

    def to_representation(self, item: CatalogItem) -> dict[str, Any]:
        """The same that the fields would say, many times as fast: an answer has dozens of items."""
        shown = {name: getattr(item, name) for name in PLAIN}
        shown["price"] = None if item.price is None else f"{item.price:.2f}"
        first = item.first_photo
        return shown | {"photo": None if first is None else self.shown_photo.to_representation(first)}


PLAIN = tuple(name for name in ItemSerializer.Meta.fields if name != "photo")  # shown as they are, but for the price


class ItemDetailSerializer(ItemSerializer):
    photos = ItemPhotoSerializer(source="shown_photos", many=True, read_only=True)

    class Meta(ItemSerializer.Meta):
        fields = (*ItemSerializer.Meta.fields, "attributes", "photos")
        read_only_fields = fields

    def to_representation(self, item: CatalogItem) -> dict[str, Any]:
        photos = [self.shown_photo.to_representation(photo) for photo in item.shown_photos]
        return super().to_representation(item) | {"attributes": item.attributes, "photos": photos}
