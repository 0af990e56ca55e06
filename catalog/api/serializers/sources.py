"""Serializers of a query's source: a photo (new, earlier or by URL), several photos of one garment, or an item."""

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

from catalog.api.authentication import current_user
from catalog.api.fields import FiniteFloatField, JSONInFormSerializer, PhotoField, StrictSerializer, WholeNumberField
from catalog.errors import Refused
from catalog.models import CatalogItem, SimilarityQuery, UploadedPhoto
from catalog.models.photos import UploadedPhotoQuerySet
from catalog.models.queries import SimilarityQuerySet
from catalog.outbound.client import MAX_LENGTH, parse_url
from catalog.photos.crops import SIDES, is_within_photo
from catalog.services.queries.create import Picture

MAX_PHOTOS = 5  # of one garment
SOURCES = ("photo", "photo_id", "photo_url", "photos", "item_id")


class OnePhotoField(PhotoField):
    """A photo, unless a form has several files of its name."""

    def get_value(self, dictionary: Any) -> Any:
        """Leave several files of this name, which are photos of one garment, to `PhotosField`."""
        value = super().get_value(dictionary)
        return empty if isinstance(dictionary, MultiValueDict) and isinstance(value, list) else value


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
    """A list of pictures, each like `photo`, or ids of earlier photos."""

    default_error_messages = {  # noqa: RUF012 - REST framework's own way
        "invalid": gettext_lazy("Send a list of photos, each the id of an earlier one or a base64 string."),
        "number": gettext_lazy("Send 1 to {most} photos of the garment."),
    }

    def get_value(self, dictionary: Any) -> Any:
        """In a form: the files named `photos`, and those named `photo` if there are several."""
        if not isinstance(dictionary, MultiValueDict):
            return dictionary.get(self.field_name, empty)
        files = dictionary.getlist("photo")
        return [*dictionary.getlist(self.field_name), *(files if len(files) > 1 else ())] or empty

    def to_internal_value(self, data: Any) -> list[Picture]:
        if not isinstance(data, list):
            self.fail("invalid")
        if not 1 <= len(data) <= MAX_PHOTOS:
            self.fail("number", most=MAX_PHOTOS)
        ids = [_parse_id(entry) for entry in data]
        rows = queryable_photos(self.context).filter(pk__in=[pk for pk in ids if pk is not None]) if any(ids) else ()
        photos = {photo.pk: photo for photo in rows}
        pictures: list[Picture] = []
        errors: dict[str, Any] = {}
        for position, (pk, entry) in enumerate(zip(ids, data, strict=True)):
            try:
                pictures.append(_find_photo(pk, photos) if pk else PhotoField().to_internal_value(entry))
            except serializers.ValidationError as error:
                errors[str(position)] = error.detail
        if errors:
            raise serializers.ValidationError(errors)
        return pictures


class CropSerializer(JSONInFormSerializer, StrictSerializer):
    """The part of the photo to search with, as fractions of its sides; `x` and `y` are the upper left corner."""

    x = FiniteFloatField(min_value=0.0, max_value=1.0)
    y = FiniteFloatField(min_value=0.0, max_value=1.0)
    width = FiniteFloatField(min_value=0.0, max_value=1.0)
    height = FiniteFloatField(min_value=0.0, max_value=1.0)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if not is_within_photo(attrs):
            raise serializers.ValidationError("The crop is not inside the photo.", code="crop_outside")
        return {side: attrs[side] for side in SIDES}


class SourceSerializer(StrictSerializer):
    """The source of a query: exactly one field, and an optional crop."""

    # The validated data are keyword arguments of `query_create`.

    photo = OnePhotoField(required=False, help_text="A picture in base64; line breaks and a data: prefix are ignored.")
    photo_id = serializers.UUIDField(required=False, help_text="Id of an earlier photo.")
    photo_url = serializers.CharField(
        required=False, max_length=MAX_LENGTH, help_text="URL of a picture, which the site fetches."
    )
    photos = PhotosField(
        required=False, help_text=f"Up to {MAX_PHOTOS} photos of one garment: ids of earlier photos, or base64."
    )
    item_id = WholeNumberField(
        required=False, min_value=1, max_value=2**63 - 1, help_text="Id of a catalogue item: find similar items."
    )
    crop = CropSerializer(required=False, help_text="The part of the photo to search with. Not for several photos.")

    def validate_photo_id(self, value: UUID) -> UploadedPhoto:
        return _find_photo(value, {photo.pk: photo for photo in queryable_photos(self.context).filter(pk=value)})

    def validate_photo_url(self, value: str) -> str:
        return validate_web_url(value)

    def validate_item_id(self, value: int) -> CatalogItem:
        findable, hidden = (
            CatalogItem.objects.findable(),
            CatalogItem.objects.filter(queries__in=_replayed_query(self.context)),
        )
        item = findable.filter(pk=value).first() or hidden.filter(pk=value).first()
        if item is None:
            raise serializers.ValidationError("There is no item with this id.", code="unknown_item")
        return item

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        sources = [name for name in SOURCES if name in attrs]
        if not sources:
            raise _error("photo", "Send a photo, or the id of a photo or item.", "required")
        if len(sources) > 1:
            message = _("Send only one of {sources}.").format(sources=", ".join(sources))
            raise _error("photo", message, "one_source_only")
        source = TO_ARGUMENTS[sources[0]](attrs.pop(sources[0]))
        if "crop" in attrs and ("item" in source or source.get("more_photos")):
            raise _error("crop", "A crop applies to a single photo.", "crop_of_one_photo")
        return attrs | source


TO_ARGUMENTS: dict[str, Callable[[Any], dict[str, Any]]] = {
    "photo": lambda photo: {"photo": photo},
    "photo_id": lambda photo: {"photo": photo},
    "photo_url": lambda url: {"photo_url": url},
    "photos": lambda photos: {"photo": photos[0], "more_photos": photos[1:]},
    "item_id": lambda item: {"item": item},
}


def validate_web_url(text: str) -> str:
    """Return the normalised URL; raises ValidationError for a URL that may not be requested."""
    try:
        return parse_url(text).url
    except Refused as refused:
        raise serializers.ValidationError(refused.detail, code=refused.code) from None


def queryable_photos(context: Mapping[str, Any]) -> UploadedPhotoQuerySet:
    """Return the photos that the request's user may query: unexpired ones, and those of a replayed query."""
    replayed = _replayed_query(context)
    is_queryable = Q(expires_at__gt=timezone.now()) | Q(queries__in=replayed) | Q(joint_queries__in=replayed)
    return UploadedPhoto.objects.owned_by(owner=current_user(context["request"])).filter(is_queryable).distinct()


def _replayed_query(context: Mapping[str, Any]) -> SimilarityQuerySet:
    """Return the query created with the same Idempotency-Key: a retry is valid even if its source has expired since."""
    key = context.get("idempotency_key")
    queries = SimilarityQuery.objects.owned_by(owner=current_user(context["request"]))
    return queries.none() if key is None else queries.filter(idempotency_key=key)


def _find_photo(pk: UUID, photos: dict[UUID, UploadedPhoto]) -> UploadedPhoto:
    if pk not in photos:
        raise serializers.ValidationError("You have no photo with this id.", code="unknown_photo")
    return photos[pk]


def _parse_id(entry: Any) -> UUID | None:
    """Return the UUID in its form with dashes, which base64 cannot contain; None for anything else."""
    if not isinstance(entry, str) or len(entry) != 36:
        return None
    try:
        return UUID(entry)
    except ValueError:
        return None


def _error(field: str, message: str, code: str) -> serializers.ValidationError:
    return serializers.ValidationError({field: serializers.ErrorDetail(message, code=code)})
