"""What a query is about: a photo sent now or before, or to be fetched, several of one garment, or an item."""

from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

from django.db.models import Q
from django.utils import timezone
from django.utils.datastructures import MultiValueDict
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.fields import empty

from catalog.api.authentication import signed_in
from catalog.api.fields import FiniteFloatField, JSONInFormSerializer, PhotoField, StrictSerializer, WholeNumberField
from catalog.errors import Refused
from catalog.models import CatalogItem, SimilarityQuery, UploadedPhoto
from catalog.models.photos import UploadedPhotoQuerySet
from catalog.models.queries import SimilarityQuerySet
from catalog.outbound.client import MAX_LENGTH, parse_url
from catalog.photos.crops import SIDES, lies_inside
from catalog.services.queries.create import Picture

MAX_PHOTOS = 5  # of one garment
SOURCES = ("photo", "photo_id", "photo_url", "photos", "item_id")


class OnePhotoField(PhotoField):
    def get_value(self, dictionary: Any) -> Any:
        """Several files under the name are several photos of one garment, which is `PhotosField`'s business."""
        found = super().get_value(dictionary)
        return empty if isinstance(dictionary, MultiValueDict) and isinstance(found, list) else found


@extend_schema_field(
    {
        "type": "array",
        "minItems": 1,
        "maxItems": MAX_PHOTOS,
        "items": {
            "anyOf": [{"type": "string", "format": "uuid"}, {"type": "string", "contentEncoding": "base64"}],
        },
    }
)
class PhotosField(serializers.Field[list[Picture], Any, Any, Any]):
    """Pictures, each like `photo`, or the id of one that was sent before."""

    default_error_messages = {  # noqa: RUF012 - REST framework's own way
        "invalid": gettext_lazy("Send a list of photos, each the id of an earlier one or a base64 string."),
        "number": gettext_lazy("Send 1 to {most} photos of the garment."),
    }

    def get_value(self, dictionary: Any) -> Any:
        """In a form: every file of this name, or those that came under the name of a single one."""
        if not isinstance(dictionary, MultiValueDict):
            return dictionary.get(self.field_name, empty)
        several = dictionary.getlist("photo")
        return [*dictionary.getlist(self.field_name), *(several if len(several) > 1 else ())] or empty

    def to_internal_value(self, data: Any) -> list[Picture]:
        if not isinstance(data, list):
            self.fail("invalid")
        if not 1 <= len(data) <= MAX_PHOTOS:
            self.fail("number", most=MAX_PHOTOS)
        ids = [_as_id(entry) for entry in data]
        mine = photos_of(self.context).filter(pk__in=[pk for pk in ids if pk is not None]) if any(ids) else ()
        earlier = {photo.pk: photo for photo in mine}
        pictures: list[Picture] = []
        errors: dict[str, Any] = {}
        for place, (pk, entry) in enumerate(zip(ids, data, strict=True)):
            try:
                pictures.append(_known(pk, earlier) if pk else PhotoField().to_internal_value(entry))
            except serializers.ValidationError as error:
                errors[str(place)] = error.detail
        if errors:
            raise serializers.ValidationError(errors)
        return pictures


class CropSerializer(JSONInFormSerializer, StrictSerializer):
    """The part of the photo that counts, as shares of its sides: `x` and `y` are its upper left corner."""

    x = FiniteFloatField(min_value=0.0, max_value=1.0)
    y = FiniteFloatField(min_value=0.0, max_value=1.0)
    width = FiniteFloatField(min_value=0.0, max_value=1.0)
    height = FiniteFloatField(min_value=0.0, max_value=1.0)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if not lies_inside(attrs):
            raise serializers.ValidationError("The crop does not lie inside of the photo.", code="crop_outside")
        return {side: attrs[side] for side in SIDES}


class SourceSerializer(StrictSerializer):
    """Exactly one of its fields but the crop. Valid, they are arguments of `query_create`."""

    photo = OnePhotoField(
        required=False, help_text="A picture, in base64; line breaks and a data: prefix do not matter."
    )
    photo_id = serializers.UUIDField(required=False, help_text="The id of a photo you sent before.")
    photo_url = serializers.CharField(
        required=False, max_length=MAX_LENGTH, help_text="The address of a picture on the web, which we fetch."
    )
    photos = PhotosField(
        required=False, help_text=f"Up to {MAX_PHOTOS} photos of one garment: ids of earlier ones, or base64."
    )
    item_id = WholeNumberField(
        required=False, min_value=1, max_value=2**63 - 1, help_text="An item of the catalogue: more like this."
    )
    crop = CropSerializer(required=False, help_text="The part of the photo that counts. Not for several photos.")

    def validate_photo_id(self, value: UUID) -> UploadedPhoto:
        return _known(value, {photo.pk: photo for photo in photos_of(self.context).filter(pk=value)})

    def validate_photo_url(self, value: str) -> str:
        return address_of_the_web(value)

    def validate_item_id(self, value: int) -> CatalogItem:
        shown, hidden = CatalogItem.objects.findable(), CatalogItem.objects.filter(queries__in=_earlier(self.context))
        item = shown.filter(pk=value).first() or hidden.filter(pk=value).first()
        if item is None:
            raise serializers.ValidationError("There is no item with this id.", code="unknown_item")
        return item

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        given = [name for name in SOURCES if name in attrs]
        if not given:
            raise _error("photo", "Send a photo, or say which photo or item you mean.", "required")
        if len(given) > 1:
            message = _("Send one of {sources}, not both.").format(sources=", ".join(given))
            raise _error("photo", message, "one_source_only")
        source = AS_ARGUMENTS[given[0]](attrs.pop(given[0]))
        if "crop" in attrs and ("item" in source or source.get("more_photos")):
            raise _error("crop", "A crop is of one photo.", "crop_of_one_photo")
        return attrs | source


AS_ARGUMENTS: dict[str, Callable[[Any], dict[str, Any]]] = {
    "photo": lambda photo: {"photo": photo},
    "photo_id": lambda photo: {"photo": photo},
    "photo_url": lambda url: {"photo_url": url},
    "photos": lambda photos: {"photo": photos[0], "more_photos": photos[1:]},
    "item_id": lambda item: {"item": item},
}


def address_of_the_web(text: str) -> str:
    """The address that a text is, if one of the kind may be asked."""
    try:
        return parse_url(text).url
    except Refused as refused:
        raise serializers.ValidationError(refused.detail, code=refused.code) from None


def photos_of(context: Mapping[str, Any]) -> UploadedPhotoQuerySet:
    """The photos that whoever asks may ask about."""
    earlier = _earlier(context)
    may_be_asked = Q(expires_at__gt=timezone.now()) | Q(queries__in=earlier) | Q(joint_queries__in=earlier)
    return UploadedPhoto.objects.owned_by(user=signed_in(context["request"])).filter(may_be_asked).distinct()


def _earlier(context: Mapping[str, Any]) -> SimilarityQuerySet:
    """The query that was made under the same key, if any: sent again, its request is as good as it was then."""
    key = context.get("idempotency_key")
    mine = SimilarityQuery.objects.owned_by(user=signed_in(context["request"]))
    return mine.none() if key is None else mine.filter(idempotency_key=key)


def _known(pk: UUID, earlier: dict[UUID, UploadedPhoto]) -> UploadedPhoto:
    if pk not in earlier:
        raise serializers.ValidationError("You have no photo with this id.", code="unknown_photo")
    return earlier[pk]


def _as_id(entry: Any) -> UUID | None:
    """The id that a text is in its usual form with dashes, which no base64 has."""
    if not isinstance(entry, str) or len(entry) != 36:
        return None
    try:
        return UUID(entry)
    except ValueError:
        return None


def _error(field: str, message: str, code: str) -> serializers.ValidationError:
    return serializers.ValidationError({field: serializers.ErrorDetail(message, code=code)})
