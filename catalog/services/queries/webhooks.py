"""Webhooks: the key they are signed with, and what is told."""

import json
from typing import Any

from django.utils import timezone
from standardwebhooks import Webhook

from catalog.models import SimilarityQuery, User, WebhookDelivery, WebhookSecret
from catalog.models.webhooks import new_secret
from catalog.outbound.post import post_json

EVENT = "query.ended"


def webhook_secret(*, user: User) -> str:
    """What the webhooks of this person are signed with; made when it is first asked for."""
    return WebhookSecret.objects.get_or_create(user=user)[0].secret


def webhook_secret_renew(*, user: User) -> str:
    """Another one. The old one signs nothing from now on."""
    columns = {"secret": new_secret(), "created_at": timezone.now()}
    return WebhookSecret.objects.update_or_create(user=user, defaults=columns)[0].secret


def webhook_create(*, query: SimilarityQuery, url: str) -> WebhookDelivery:
    """Have an address told when this query of an account has ended. It becomes due by that alone."""
    WebhookSecret.objects.get_or_create(user=query.owner)
    return WebhookDelivery.objects.create(query=query, url=url)


def webhook_send(*, delivery: WebhookDelivery) -> None:
    """Tell the address of a claimed delivery, once. Raises `Refused`, with why, unless the address has taken it."""
    body = json.dumps(_event(delivery.query), separators=(",", ":"))
    post_json(delivery.url, body.encode(), _signed(str(delivery.query_id), body, delivery.secret))


def _event(query: SimilarityQuery) -> dict[str, Any]:
    return {
        "type": EVENT,
        "query": str(query.pk),
        "state": query.state,
        "outcome": query.outcome or None,
        "error": {"code": query.error_code, "detail": query.error_detail} if query.error_code else None,
        "url": f"/api/v1/queries/{query.pk}/",  # a worker does not know under which names the site is reached
    }


def _signed(message: str, body: str, secret: str) -> dict[str, str]:
    """The headers of Standard Webhooks. Each try has a time and a signature of its own, and all have one id."""
    now = timezone.now()
    return {
        "webhook-id": message,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(secret).sign(message, now, body),
    }
