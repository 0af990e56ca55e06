"""Telling an address of the owner's that a query has ended."""

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
"""How long after each try in vain the next one comes: five tries within an hour."""
MAX_TRIES = len(RETRY_DELAYS) + 1


class WebhookState(models.TextChoices):
    """waiting -> sending -> delivered; or from sending back to waiting, and after the last try to given_up."""

    WAITING = "waiting"  # for its query to end, or for its next try
    SENDING = "sending"  # claimed by a net worker
    DELIVERED = "delivered"
    GIVEN_UP = "given_up"


class WebhookDeliveryQuerySet(ClaimableQuerySet["WebhookDelivery"]):
    def due(self) -> "WebhookDeliveryQuerySet":
        """Those whose query has ended and whose next try has come."""
        return self.filter(state=WebhookState.WAITING, next_at__lte=timezone.now(), query__state__in=ENDED)

    def claim(self, pk: int | str, *, worker: str) -> "WebhookDelivery | None":
        """Take one that is due; None if it is gone, not due, or someone else's. The try counts from here on."""
        claim = new_claim(worker)
        if not self.due().filter(pk=pk).update(state=WebhookState.SENDING, attempts=F("attempts") + 1, **claim):
            return None
        claimed = self.select_related("query__owner__webhook_secret").defer("query__vector")
        return claimed.filter(pk=pk, claim_token=claim["claim_token"]).first()

    def release(self) -> int:
        """Give claimed ones back after their worker died; those tried often enough are given up. Returns how many."""
        sending = self.filter(state=WebhookState.SENDING)
        exhausted = sending.filter(attempts__gte=MAX_TRIES).update(state=WebhookState.GIVEN_UP, **no_claim())
        return exhausted + sending.update(state=WebhookState.WAITING, **no_claim())


class WebhookDelivery(Claimable):
    """What an address is told of a query. It is made with the query and becomes due by the query's end.

    `next_at` is the earliest moment of the next try, which only counts once the query has ended.
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
        """What it is signed with. A webhook is made with an owner, who has one from then on."""
        assert self.query.owner is not None  # noqa: S101 - nobody else can have one made
        return self.query.owner.webhook_secret.secret

    def record_delivery(self) -> None:
        """sending -> delivered."""
        self._move(WebhookState.DELIVERED, delivered_at=timezone.now(), error="")

    def record_failure(self, error: str) -> None:
        """sending -> waiting for the next try, or given_up after the last one; `error` is a sentence for people."""
        if self.attempts >= MAX_TRIES:
            self._move(WebhookState.GIVEN_UP, error=error[:500])
        else:
            next_at = timezone.now() + RETRY_DELAYS[self.attempts - 1]
            self._move(WebhookState.WAITING, error=error[:500], next_at=next_at)

    def _move(self, target: WebhookState, **columns: object) -> None:
        self.write_claimed(WebhookState.SENDING, {"state": target, **no_claim(), **columns})


def new_secret() -> str:
    """A key as Standard Webhooks writes it."""
    return f"whsec_{b64encode(secrets.token_bytes(32)).decode()}"


class WebhookSecret(models.Model):
    """What a person's webhooks are signed with. A row of its own, so that no page about people reads it along."""

    user = models.OneToOneField(User, on_delete=models.CASCADE, primary_key=True, related_name="webhook_secret")
    secret = models.CharField(max_length=100, default=new_secret, editable=False)
    created_at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return f"webhook secret of {self.user_id}"
