"""Serializers of webhook deliveries and of the signing secret."""

from typing import Any

from rest_framework import serializers

from catalog.http.problems import failure_sentence
from catalog.models import WebhookDelivery
from catalog.outbound.post import FAILED


class WebhookSerializer(serializers.ModelSerializer[WebhookDelivery]):
    """The delivery of a webhook."""

    attempts = serializers.IntegerField(read_only=True)
    error = serializers.SerializerMethodField(help_text="Why the last attempt failed; empty if none failed.")

    class Meta:
        model = WebhookDelivery
        fields = ("url", "state", "attempts", "delivered_at", "error")
        read_only_fields = fields

    def get_error(self, delivery: WebhookDelivery) -> str:
        return failure_sentence(FAILED, delivery.error)


class WebhookSecretSerializer(serializers.Serializer[Any]):
    """The secret that signs my webhooks."""

    secret = serializers.CharField(help_text="Begins with `whsec_`. Keep it secret: it signs the webhooks sent to you.")
