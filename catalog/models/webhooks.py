"""Webhook deliveries: notify a URL of the query's owner when a query has ended."""

import secrets
from base64 import b64encode
from datetime import timedelta

from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from catalog.models.claims import Claimable, ClaimableQuerySet, new_claim, no_claim
from catalog.models.queries import ENDED, SimilarityQuery
from catalog.models.users import User

RETRY_DELAYS = (timedelta(seconds=30), timedelta(minutes=2), timedelta(minutes=10), timedelta(minutes=45))
"""Delay after each failed attempt: five attempts within an hour."""
MAX_TRIES = len(RETRY_DELAYS) + 1


class WebhookState(models.TextChoices):
    """waiting -> sending -> delivered; after a failed attempt sending -> waiting, after the last one -> given_up."""

    WAITING = "waiting"  # for the end of its query, or for the next attempt
    SENDING = "sending"  # claimed by a net worker
    DELIVERED = "delivered"
    GIVEN_UP = "given_up"


class WebhookDeliveryQuerySet(ClaimableQuerySet["WebhookDelivery"]):
    """Queries that claim and requeue webhook deliveries."""

    def due(self) -> "WebhookDeliveryQuerySet":
        """Waiting deliveries whose query has ended and whose `next_at` has passed."""
        return self.filter(state=WebhookState.WAITING, next_at__lte=timezone.now(), query__state__in=ENDED)

    def claim(self, pk: int | str, *, worker: str) -> "WebhookDelivery | None":
        """Claim a delivery that is due, and count the attempt. None if it was deleted, is not due, or is claimed."""
        claim = new_claim(worker)
        if not self.due().filter(pk=pk).update(state=WebhookState.SENDING, attempts=F("attempts") + 1, **claim):
            return None
        claimed = self.select_related("query__owner__webhook_secret").defer("query__vector")
        return claimed.filter(pk=pk, claim_token=claim["claim_token"]).first()

    def release_claims(self) -> int:
        """Requeue claimed deliveries after a crash; those with `MAX_TRIES` attempts are given up. Returns how many."""
        sending = self.filter(state=WebhookState.SENDING)
        given_up = sending.filter(attempts__gte=MAX_TRIES).update(state=WebhookState.GIVEN_UP, **no_claim())
        return given_up + sending.update(state=WebhookState.WAITING, **no_claim())


class WebhookDelivery(Claimable):
    """The notification of one URL about one query. Created with the query, and due when the query has ended.

    `next_at` is the earliest moment of the next attempt, once the query has ended.
    """

    query = models.OneToOneField(SimilarityQuery, on_delete=models.CASCADE, related_name="webhook")
    url = models.CharField(max_length=2000)
    state = models.CharField(max_length=10, choices=WebhookState, default=WebhookState.WAITING)
    attempts = models.PositiveSmallIntegerField(default=0, help_text="Tries so far.")
    next_at = models.DateTimeField(default=timezone.now, help_text="Not tried again before.")
    delivered_at = models.DateTimeField(null=True, blank=True)
    error = models.CharField(max_length=500, blank=True, help_text="Why the last try was in vain.")
    nudged_at = models.DateTimeField(default=timezone.now, editable=False, help_text="When its message was last sent.")
    created_at = models.DateTimeField(default=timezone.now)

    objects = WebhookDeliveryQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "webhook deliveries"
        indexes = (
            models.Index(fields=["nudged_at"], condition=Q(state="waiting"), name="waiting_webhooks"),
            models.Index(fields=["claimed_at"], condition=Q(state="sending"), name="claimed_webhooks"),
        )

    def __str__(self) -> str:
        return f"webhook of query {self.query_id}"

    @property
    def secret(self) -> str:
        """The signing secret of the query's owner. `webhook_create` makes sure that it exists."""
        assert self.query.owner is not None  # noqa: S101 - visitors cannot create webhooks
        return self.query.owner.webhook_secret.secret

    def record_delivery(self) -> None:
        """sending -> delivered. Raises `ClaimLost`."""
        self._move(WebhookState.DELIVERED, delivered_at=timezone.now(), error="")

    def record_failure(self, error: str) -> None:
        """sending -> waiting for the next attempt, or given_up after the last. `error` is a sentence for the user."""
        if self.attempts >= MAX_TRIES:
            self._move(WebhookState.GIVEN_UP, error=error[:500])
        else:
            next_at = timezone.now() + RETRY_DELAYS[self.attempts - 1]
            self._move(WebhookState.WAITING, error=error[:500], next_at=next_at)

    def _move(self, target: WebhookState, **columns: object) -> None:
        self.write_claimed(WebhookState.SENDING, {"state": target, **no_claim(), **columns})


def new_secret() -> str:
    """A random signing secret in the format of Standard Webhooks (standardwebhooks.com)."""
    return f"whsec_{b64encode(secrets.token_bytes(32)).decode()}"


class WebhookSecret(models.Model):
    """The secret that signs a user's webhooks. In a table of its own, so that no query about users reads it."""

    user = models.OneToOneField(User, on_delete=models.CASCADE, primary_key=True, related_name="webhook_secret")
    secret = models.CharField(max_length=100, default=new_secret, editable=False)
    created_at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return f"webhook secret of {self.user_id}"
