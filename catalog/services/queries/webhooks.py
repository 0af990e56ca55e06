"""Webhooks: signing secrets, creation of deliveries, and sending (standardwebhooks.com)."""

import json
from typing import Any

from django.utils import timezone
from standardwebhooks import Webhook

from catalog.models import SimilarityQuery, User, WebhookDelivery, WebhookSecret
from catalog.models.webhooks import new_secret
from catalog.outbound.post import post_json

EVENT = "query.ended"


def webhook_secret(*, user: User) -> str:
    """The signing secret of a user, created at the first call."""
    return WebhookSecret.objects.get_or_create(user=user)[0].secret


def webhook_secret_renew(*, user: User) -> str:
    """Replace the signing secret, at once. Returns the new one."""
    columns = {"secret": new_secret(), "created_at": timezone.now()}
    return WebhookSecret.objects.update_or_create(user=user, defaults=columns)[0].secret


def webhook_create(*, query: SimilarityQuery, url: str) -> WebhookDelivery:
    """Create the delivery for a query of a user. It becomes due when the query ends."""
    WebhookSecret.objects.get_or_create(user=query.owner)
    return WebhookDelivery.objects.create(query=query, url=url)


def webhook_send(*, delivery: WebhookDelivery) -> None:
    """Send a claimed delivery once. Raises `Refused`, with the reason, unless the server accepts it (2xx)."""
    body = json.dumps(_event(delivery.query), separators=(",", ":"))
    post_json(delivery.url, body.encode(), _signature_headers(str(delivery.query_id), body, delivery.secret))


def _event(query: SimilarityQuery) -> dict[str, Any]:
    return {
        "type": EVENT,
        "query": str(query.pk),
        "state": query.state,
        "outcome": query.outcome or None,
        "error": {"code": query.error_code, "detail": query.error_detail} if query.error_code else None,
        "url": f"/api/v1/queries/{query.pk}/",  # relative: a worker does not know the host name of the site
    }


def _signature_headers(message: str, body: str, secret: str) -> dict[str, str]:
    """The headers of Standard Webhooks: one id for all attempts, a new timestamp and signature for each."""
    now = timezone.now()
    return {
        "webhook-id": message,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(secret).sign(message, now, body),
    }
