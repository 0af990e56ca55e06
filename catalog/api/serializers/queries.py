"""A query: the request for one, and what became of it."""

from typing import Any

from django.conf import settings
from django.utils import timezone
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from catalog.api.authentication import signed_in
from catalog.api.fields import FiniteFloatField, JSONInFormSerializer, PhotoField, StrictSerializer, WholeNumberField
from catalog.api.serializers.items import FiltersSerializer, ItemSerializer
from catalog.api.serializers.pictures import ItemPhotoSerializer, UploadedPhotoSerializer
from catalog.models import Recommendation, SimilarityQuery, UploadedPhoto


class FiltersInFormSerializer(JSONInFormSerializer, FiltersSerializer):
    """The filters of a query, which a multipart form brings as JSON text."""


class QueryRequestSerializer(StrictSerializer):
    """Exactly one of `photo` and `photo_id`, and what the answer should be like."""

    photo = PhotoField(required=False, help_text="A picture, in base64; line breaks and a data: prefix do not matter.")
    photo_id = serializers.UUIDField(required=False, help_text="The id of a photo you sent before.")
    k = WholeNumberField(default=10, min_value=1, max_value=settings.MAX_K, help_text="How many items.")
    filters = FiltersInFormSerializer(required=False)
    diversity = FiniteFloatField(
        default=0.0, min_value=0.0, max_value=1.0, help_text="0: the nearest, 1: the most varied."
    )

    def validate_photo_id(self, value: Any) -> UploadedPhoto:
        mine = UploadedPhoto.objects.of(user=signed_in(self.context["request"]))
        photo = mine.filter(pk=value, expires_at__gt=timezone.now()).first()
        if photo is None:
            raise serializers.ValidationError("You have no photo with this id.", code="unknown_photo")
        return photo

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        sources = [attrs.pop(name) for name in ("photo", "photo_id") if name in attrs]
        if not sources:
            message = "Send a photo, or the id of an earlier one."
            raise serializers.ValidationError({"photo": serializers.ErrorDetail(message, code="required")})
        if len(sources) > 1:
            message = "Send a photo or the id of an earlier one, not both."
            raise serializers.ValidationError({"photo": serializers.ErrorDetail(message, code="one_photo_only")})
        return {**attrs, "photo": sources[0]}


class QueryFormSerializer(QueryRequestSerializer):
    """The same as a multipart form. Only for the schema: one serializer reads both."""

    photo = serializers.FileField(required=False, help_text="JPEG, PNG, WebP, HEIC …")  # type: ignore[assignment]
    filters = serializers.JSONField(required=False, help_text="The filters, as JSON text.")  # type: ignore[assignment]


class RecommendationSerializer(serializers.ModelSerializer[Recommendation]):
    item = ItemSerializer(read_only=True)
    photo = ItemPhotoSerializer(read_only=True, help_text="The picture of the item that matched.")

    class Meta:
        model = Recommendation
        fields = ("rank", "score", "item", "photo")
        read_only_fields = fields


class QueryErrorSerializer(serializers.Serializer[Any]):
    """Why a query failed."""

    code = serializers.CharField(source="error_code")
    detail = serializers.CharField(source="error_detail")


class QuerySummarySerializer(serializers.ModelSerializer[SimilarityQuery]):
    """A query without its answer, for lists."""

    url = serializers.HyperlinkedIdentityField(view_name="api:query")
    filters = FiltersSerializer(read_only=True)
    photo = UploadedPhotoSerializer(read_only=True)
    encoder = serializers.SlugRelatedField[Any](
        slug_field="name", read_only=True, allow_null=True, help_text="Which encoder answered; null before it did."
    )
    timings = serializers.DictField(
        child=serializers.FloatField(), read_only=True, help_text="Milliseconds of each step that is over."
    )
    error = serializers.SerializerMethodField(help_text="Why it failed, if it did.")

    class Meta:
        model = SimilarityQuery
        fields: tuple[str, ...] = (
            "id",
            "url",
            "state",
            "k",
            "filters",
            "diversity",
            "created_at",
            "finished_at",
            "timings",
            "encoder",
            "photo",
            "error",
        )
        read_only_fields = fields

    @extend_schema_field(QueryErrorSerializer(allow_null=True))
    def get_error(self, query: SimilarityQuery) -> Any:
        return QueryErrorSerializer(query).data if query.error_code else None


class QuerySerializer(QuerySummarySerializer):
    recommendations = RecommendationSerializer(many=True, read_only=True, help_text="In order of rank.")

    class Meta(QuerySummarySerializer.Meta):
        fields = (*QuerySummarySerializer.Meta.fields, "recommendations")
        read_only_fields = fields
