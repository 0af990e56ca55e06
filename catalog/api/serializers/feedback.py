"""What a person makes of an answer."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from catalog.api.fields import StrictSerializer, SwitchField
from catalog.models import Feedback, Verdict

VERDICT = {"type": ["string", "null"], "enum": [*Verdict.values, None]}


class FeedbackRequestSerializer(StrictSerializer):
    """What is not named stays as it is."""

    verdict = serializers.ChoiceField(
        Verdict.choices, required=False, allow_null=True, help_text="A thumb; null takes it back."
    )
    clicked = SwitchField(
        required=False, help_text="True: the item was opened. That is not taken back, so false says nothing."
    )
    may_train = SwitchField(
        required=False,
        help_text="Whether encoders may learn from the photo of this query. False takes it back at once, true lets "
        "staff see the photo beside the items, and keeps it for up to a year if they take it.",
    )

    def validate_verdict(self, verdict: str | None) -> str:
        return verdict or ""


class SaidSerializer(serializers.Serializer[Any]):
    """What I have said about an answer."""

    verdict = serializers.SerializerMethodField(help_text="Null without a thumb.")
    clicked = serializers.SerializerMethodField(help_text="Whether I have opened the item.")

    @extend_schema_field(serializers.ChoiceField(Verdict.choices, allow_null=True))
    def get_verdict(self, said: Feedback) -> str | None:
        return said.verdict or None

    def get_clicked(self, said: Feedback) -> bool:
        return said.clicked_at is not None


class FeedbackSerializer(SaidSerializer):
    """The same, and what may be learned from."""

    may_train = serializers.SerializerMethodField(
        help_text="Whether encoders may learn from the query's photo; null if it was about an item."
    )

    @extend_schema_field({"type": ["boolean", "null"]})
    def get_may_train(self, said: Feedback) -> bool | None:
        photo = said.recommendation.query.photo
        return None if photo is None else photo.may_train
