"""Serializers of feedback on a recommendation."""

from typing import Any

from drf_spectacular.utils import extend_schema_field, extend_schema_serializer
from rest_framework import serializers

from catalog.api.fields import StrictSerializer, SwitchField
from catalog.models import Feedback, Verdict

VERDICT = {"type": ["string", "null"], "enum": [*Verdict.values, None]}


class FeedbackRequestSerializer(StrictSerializer):
    """Feedback to save; omitted fields keep their value."""

    verdict = serializers.ChoiceField(
        Verdict.choices, required=False, allow_null=True, help_text="Thumb up or down; null removes it."
    )
    clicked = SwitchField(required=False, help_text="True: the item was opened. It cannot be unset; false is ignored.")
    may_train = SwitchField(
        required=False,
        help_text="Training consent for the photo of this query. True: staff may compare the photo with the items; "
        "once accepted for training it is kept for up to a year. False withdraws the consent at once.",
    )

    def validate_verdict(self, verdict: str | None) -> str:
        return verdict or ""


@extend_schema_serializer(component_name="Said")
class FeedbackSummarySerializer(serializers.Serializer[Any]):
    """My feedback on a recommendation."""

    verdict = serializers.SerializerMethodField(help_text="Null without a verdict.")
    clicked = serializers.SerializerMethodField(help_text="Whether I opened the item.")

    @extend_schema_field(serializers.ChoiceField(Verdict.choices, allow_null=True))
    def get_verdict(self, feedback: Feedback) -> str | None:
        return feedback.verdict or None

    def get_clicked(self, feedback: Feedback) -> bool:
        return feedback.clicked_at is not None


@extend_schema_serializer(component_name="Feedback")
class FeedbackSerializer(FeedbackSummarySerializer):
    """My feedback on a recommendation, with the training consent for the query's photo."""

    may_train = serializers.SerializerMethodField(
        help_text="Training consent for the query's photo; null for a query by item."
    )

    @extend_schema_field({"type": ["boolean", "null"]})
    def get_may_train(self, feedback: Feedback) -> bool | None:
        photo = feedback.recommendation.query.photo
        return None if photo is None else photo.may_train
