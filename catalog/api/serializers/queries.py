"""A query: the request for one, and what became of it."""

from typing import Any

from django.conf import settings
from django.utils.functional import cached_property
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.reverse import reverse

from catalog.api.fields import FiniteFloatField, JSONInFormSerializer, WholeNumberField
from catalog.api.serializers.feedback import SaidSerializer
from catalog.api.serializers.items import FiltersSerializer, ItemSerializer
from catalog.api.serializers.pictures import MOMENT, ItemPhotoSerializer, UploadedPhotoSerializer
from catalog.api.serializers.sources import MAX_PHOTOS, CropSerializer, SourceSerializer, address_of_the_web
from catalog.api.serializers.webhooks import WebhookSerializer
from catalog.http.problems import failure_sentence
from catalog.models import Outcome, QueryState, Recommendation, SimilarityQuery
from catalog.outbound.client import MAX_LENGTH
from catalog.services.queries.answers import feedback_for

GUESSED = ("category", "gender", "colour")


class FiltersInFormSerializer(JSONInFormSerializer, FiltersSerializer):
    """The filters of a query, which a multipart form brings as JSON text."""


class QueryRequestSerializer(SourceSerializer):
    """What is asked about, exactly one of `photo`, `photo_id`, `photo_url`, `photos` and `item_id`, and how."""

    k = WholeNumberField(default=10, min_value=1, max_value=settings.MAX_K, help_text="How many items.")
    filters = FiltersInFormSerializer(required=False)
    diversity = FiniteFloatField(
        default=0.0, min_value=0.0, max_value=1.0, help_text="0: the nearest, 1: the most varied."
    )
    min_score = FiniteFloatField(
        required=False, min_value=-1.0, max_value=1.0, help_text="Items with a lower score are left out."
    )

    callback_url = serializers.CharField(
        required=False, max_length=MAX_LENGTH, help_text="An address that is told by a signed POST when it has ended."
    )

    def validate_callback_url(self, value: str) -> str:
        return address_of_the_web(value)


class QueryFormSerializer(QueryRequestSerializer):
    """The same as a multipart form. Only for the schema: one serializer reads both."""

    photo = serializers.FileField(required=False, help_text="JPEG, PNG, WebP, HEIC …")  # type: ignore[assignment]
    photos = serializers.ListField(  # type: ignore[assignment]
        child=serializers.FileField(), required=False, max_length=MAX_PHOTOS, help_text="Several of one garment."
    )
    filters = serializers.JSONField(required=False, help_text="The filters, as JSON text.")  # type: ignore[assignment]
    crop = serializers.JSONField(required=False, help_text="The crop, as JSON text.")  # type: ignore[assignment]


class QueryWishSerializer(serializers.Serializer[Any]):
    """The query parameters of the list of queries."""

    state = serializers.ChoiceField(choices=QueryState.choices, required=False, help_text="Only those in this state.")


class WhySerializer(serializers.Serializer[Any]):
    """What an item has in common with what was asked about: an item, or what the query guesses of a photo."""

    same_category = serializers.BooleanField(allow_null=True, help_text="Null where a category is not known.")
    colour_distance = serializers.FloatField(
        allow_null=True, help_text="CIEDE2000 between the garments' colours: below 2 alike, above 50 unlike."
    )
    agrees = serializers.ListField(child=serializers.CharField(), help_text="Names of attributes that are the same.")


class RecommendationSerializer(serializers.ModelSerializer[Recommendation]):
    item = ItemSerializer(read_only=True)
    photo = ItemPhotoSerializer(read_only=True, help_text="The picture of the item that matched.")
    why = serializers.SerializerMethodField(help_text="Null in answers from before there were reasons.")
    feedback = serializers.SerializerMethodField(help_text="What I have said about it.")

    class Meta:
        model = Recommendation
        fields = ("id", "rank", "score", "probability", "why", "item", "photo", "feedback")
        read_only_fields = fields

    @extend_schema_field(WhySerializer(allow_null=True))
    def get_why(self, found: Recommendation) -> Any:
        return found.why or None

    @extend_schema_field(SaidSerializer)
    def get_feedback(self, found: Recommendation) -> Any:
        said = feedback_for(found)
        return {"verdict": said.verdict or None, "clicked": said.clicked_at is not None}

    @cached_property
    def parts(self) -> tuple[ItemSerializer, ItemPhotoSerializer]:
        return ItemSerializer(context=self.context), ItemPhotoSerializer(context=self.context)

    def to_representation(self, found: Recommendation) -> dict[str, Any]:
        """The same that the fields would say, many times as fast: an answer has dozens of these."""
        item, photo = self.parts
        return {
            "id": found.pk,
            "rank": found.rank,
            "score": found.score,
            "probability": found.probability,
            "why": self.get_why(found),
            "item": item.to_representation(found.item),
            "photo": photo.to_representation(found.photo),
            "feedback": self.get_feedback(found),
        }


class QueryErrorSerializer(serializers.Serializer[Any]):
    """Why a query failed."""

    code = serializers.CharField(source="error_code")
    detail = serializers.SerializerMethodField(help_text="A sentence for people.")

    def get_detail(self, query: SimilarityQuery) -> str:
        return failure_sentence(query.error_code, query.error_detail)


class GuessedSerializer(serializers.Serializer[Any]):
    value = serializers.CharField()
    share = serializers.FloatField(help_text="Of the nearest items' votes, 0.5 to 1.")


class GuessSerializer(serializers.Serializer[Any]):
    """What most of the items nearest to a photo have in common; nothing where they do not agree."""

    category = GuessedSerializer(required=False)
    gender = GuessedSerializer(required=False)
    colour = GuessedSerializer(required=False)


class QuerySummarySerializer(serializers.ModelSerializer[SimilarityQuery]):
    """A query without its answer, for lists."""

    url = serializers.HyperlinkedIdentityField(view_name="api:query")
    outcome = serializers.SerializerMethodField(help_text="What was found; null before the end, or if nobody can tell.")
    filters = FiltersSerializer(read_only=True)
    photo = UploadedPhotoSerializer(
        read_only=True, allow_null=True, help_text="The photo asked about; null while it is fetched, or for an item."
    )
    more_photos = UploadedPhotoSerializer(many=True, read_only=True, help_text="More photos of the same garment.")
    photo_url = serializers.SerializerMethodField(help_text="Where the photo was fetched from.")
    item = ItemSerializer(read_only=True, allow_null=True, help_text="The item asked about.")
    crop = CropSerializer(read_only=True, allow_null=True)
    encoder = serializers.SlugRelatedField[Any](
        slug_field="name", read_only=True, allow_null=True, help_text="Which encoder answered; null before it did."
    )
    timings = serializers.DictField(
        child=serializers.FloatField(), read_only=True, help_text="Milliseconds of each step that is over."
    )
    guess = serializers.SerializerMethodField(help_text="What the garment seems to be.")
    probably_not_clothes = serializers.BooleanField(
        read_only=True, help_text="Whether the photo is unlike all clothes that the encoder has learned from."
    )
    error = serializers.SerializerMethodField(help_text="Why it failed, if it did.")
    webhook = WebhookSerializer(read_only=True, allow_null=True, help_text="What became of its `callback_url`.")

    class Meta:
        model = SimilarityQuery
        fields: tuple[str, ...] = (
            "id",
            "url",
            "state",
            "outcome",
            "k",
            "filters",
            "diversity",
            "min_score",
            "created_at",
            "finished_at",
            "timings",
            "encoder",
            "photo",
            "more_photos",
            "photo_url",
            "item",
            "crop",
            "guess",
            "probably_not_clothes",
            "error",
            "webhook",
        )
        read_only_fields = fields

    @extend_schema_field({"type": ["string", "null"], "enum": [*Outcome.values, None]})
    def get_outcome(self, query: SimilarityQuery) -> str | None:
        return query.outcome or None

    @extend_schema_field({"type": ["string", "null"]})
    def get_photo_url(self, query: SimilarityQuery) -> str | None:
        return query.source_url or None

    @extend_schema_field(GuessSerializer)
    def get_guess(self, query: SimilarityQuery) -> Any:
        return {name: query.guess[name] for name in GUESSED if name in query.guess}

    @extend_schema_field(QueryErrorSerializer(allow_null=True))
    def get_error(self, query: SimilarityQuery) -> Any:
        return QueryErrorSerializer(query).data if query.error_code else None

    @cached_property
    def shown_photo(self) -> UploadedPhotoSerializer:
        return UploadedPhotoSerializer(context=self.context)

    def to_representation(self, query: SimilarityQuery) -> dict[str, Any]:
        """The same that the fields would say, many times as fast: REST framework copies each field for each answer.

        What few queries have is left to the serializers.
        """
        photo = self.shown_photo.to_representation
        webhook = getattr(query, "webhook", None)
        return {
            "id": str(query.pk),
            "url": reverse("api:query", args=[query.pk], request=self.context["request"]),
            "state": query.state,
            "outcome": self.get_outcome(query),
            "k": query.k,
            "filters": FiltersSerializer(query.filters).data if query.filters else {},
            "diversity": query.diversity,
            "min_score": query.min_score,
            "created_at": MOMENT.to_representation(query.created_at),
            "finished_at": MOMENT.to_representation(query.finished_at) if query.finished_at else None,
            "timings": query.timings,
            "encoder": query.encoder.name if query.encoder else None,
            "photo": photo(query.photo) if query.photo else None,
            "more_photos": [photo(other) for other in query.other_photos],
            "photo_url": self.get_photo_url(query),
            "item": ItemSerializer(context=self.context).to_representation(query.item) if query.item else None,
            "crop": CropSerializer(query.crop).data if query.crop else None,
            "guess": self.get_guess(query),
            "probably_not_clothes": query.probably_not_clothes,
            "error": self.get_error(query),
            "webhook": WebhookSerializer(webhook).data if webhook else None,
        }


class QuerySerializer(QuerySummarySerializer):
    recommendations = RecommendationSerializer(
        source="ranked", many=True, read_only=True, help_text="In order of rank."
    )

    class Meta(QuerySummarySerializer.Meta):
        fields = (*QuerySummarySerializer.Meta.fields, "recommendations")
        read_only_fields = fields

    def to_representation(self, query: SimilarityQuery) -> dict[str, Any]:
        shown = RecommendationSerializer(context=self.context)
        ranked = [shown.to_representation(found) for found in query.ranked]
        return super().to_representation(query) | {"recommendations": ranked}
