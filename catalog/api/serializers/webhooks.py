"""Webhooks: what became of one, and what they are signed with."""

from typing import Any

from rest_framework import serializers

from catalog.http.problems import failure_sentence
from catalog.models import WebhookDelivery
from catalog.outbound.post import FAILED


class WebhookSerializer(serializers.ModelSerializer[WebhookDelivery]):
    attempts = serializers.IntegerField(read_only=True)
    error = serializers.SerializerMethodField(help_text="Why the last try was in vain; empty if none was.")

    class Meta:
        model = WebhookDelivery
        fields = ("url", "state", "attempts", "delivered_at", "error")
        read_only_fields = fields

    def get_error(self, delivery: WebhookDelivery) -> str:
        return failure_sentence(FAILED, delivery.error)


class WebhookSecretSerializer(serializers.Serializer[Any]):
    secret = serializers.CharField(help_text="Begins with `whsec_`. Whoever has it can sign in our name to you.")
