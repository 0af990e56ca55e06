"""Evaluation sets, and evaluations of encoders on them."""

from typing import Any

from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from catalog.models.claims import RESEND_AFTER, Claimable, ClaimableQuerySet, new_claim, no_claim
from catalog.models.encoders import Encoder
from catalog.models.items import CatalogItem
from catalog.models.users import User

MAX_ATTEMPTS = 3


class EvaluationSet(models.Model):
    """The catalogue items that encoders are compared on. They are never trained on.

    The items of a set never change. An item that was ever in a set stays out of all training.
    """

    name = models.CharField(max_length=100, unique=True)
    is_current = models.BooleanField(default=False, help_text="Whether encoders are compared on it now.")
    created_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    items = models.ManyToManyField(CatalogItem, through="EvaluationItem", related_name="evaluation_sets")

    class Meta:
        ordering = ("-created_at",)
        constraints = (
            models.UniqueConstraint(
                fields=["is_current"], condition=Q(is_current=True), name="one_current_evaluation_set"
            ),
        )

    def __str__(self) -> str:
        return self.name

    @classmethod
    def current(cls) -> "EvaluationSet | None":
        """The set that encoders are compared on; None before the first one is drawn."""
        return cls.objects.filter(is_current=True).first()


class EvaluationItem(models.Model):
    """The membership of an item in an evaluation set."""

    evaluation_set = models.ForeignKey(EvaluationSet, on_delete=models.CASCADE, related_name="members")
    item = models.ForeignKey(CatalogItem, on_delete=models.CASCADE, related_name="evaluation_memberships")

    class Meta:
        constraints = (models.UniqueConstraint(fields=["evaluation_set", "item"], name="an_item_is_once_in_a_set"),)

    def __str__(self) -> str:
        return f"{self.evaluation_set_id}: item {self.item_id}"


class EvaluationState(models.TextChoices):
    """queued -> running -> done or failed."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


class EvaluationQuerySet(ClaimableQuerySet["Evaluation"]):
    """Queries that claim, requeue and resend evaluations."""

    def claim(self, pk: int | str, *, worker: str) -> "Evaluation | None":
        """Claim a queued evaluation; None if it was deleted, claimed by another worker, or has ended."""
        claim = new_claim(worker)
        if not self.filter(pk=pk, state=EvaluationState.QUEUED).update(state=EvaluationState.RUNNING, **claim):
            return None
        related = self.select_related("encoder", "against", "evaluation_set")
        return related.filter(pk=pk, claim_token=claim["claim_token"]).first()

    def release_claims(self) -> int:
        """Requeue running evaluations; those with `MAX_ATTEMPTS` dead workers fail. Returns how many there were."""
        running = self.filter(state=EvaluationState.RUNNING)
        exhausted = running.filter(attempts__gte=MAX_ATTEMPTS - 1)
        reason = f"The worker died {MAX_ATTEMPTS} times during this evaluation."
        failed = exhausted.update(state=EvaluationState.FAILED, reason=reason, finished_at=timezone.now(), **no_claim())
        overdue = timezone.now() - RESEND_AFTER
        requeued = running.update(
            state=EvaluationState.QUEUED, attempts=F("attempts") + 1, nudged_at=overdue, **no_claim()
        )
        return failed + requeued

    def take_undelivered(self) -> "list[Evaluation]":
        """Queued evaluations whose message seems lost, oldest first; each is returned once per `RESEND_AFTER`."""
        return self.filter(state=EvaluationState.QUEUED).take_overdue()


class Evaluation(Claimable):
    """The measurement of an encoder on an evaluation set, and its comparison with the encoder `against`, if any."""

    encoder = models.ForeignKey(Encoder, on_delete=models.CASCADE, related_name="evaluations")
    against = models.ForeignKey(Encoder, on_delete=models.CASCADE, null=True, blank=True, related_name="+")
    evaluation_set = models.ForeignKey(EvaluationSet, on_delete=models.CASCADE, related_name="evaluations")
    state = models.CharField(max_length=10, choices=EvaluationState, default=EvaluationState.QUEUED)
    stage = models.CharField(max_length=100, blank=True)
    report = models.JSONField(default=dict, blank=True, help_text="As `ml evaluate --out` writes it.")
    samples = models.JSONField(default=list, blank=True, help_text="Some photos, each answered by both encoders.")
    reason = models.CharField(max_length=500, blank=True, help_text="Why it failed.")
    attempts = models.PositiveSmallIntegerField(default=0, help_text="Workers that died with it.")
    nudged_at = models.DateTimeField(default=timezone.now, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    objects = EvaluationQuerySet.as_manager()

    class Meta:
        ordering = ("-created_at",)
        constraints = (
            models.UniqueConstraint(fields=["encoder", "against", "evaluation_set"], name="one_evaluation_per_pair"),
            models.UniqueConstraint(
                fields=["encoder", "evaluation_set"], condition=Q(against=None), name="one_evaluation_alone"
            ),
        )

    def __str__(self) -> str:
        other = f" against {self.against}" if self.against else ""
        return f"{self.encoder}{other} on {self.evaluation_set}"

    def renew_claim(self, stage: str = "") -> None:
        """Extend the claim and record the current stage. Raises `ClaimLost`."""
        self.write_claimed(EvaluationState.RUNNING, {"claimed_at": timezone.now(), "stage": stage})

    def record_done(self, report: dict[str, Any], samples: list[Any]) -> None:
        """running -> done. Raises `ClaimLost`."""
        self._end(EvaluationState.DONE, report=report, samples=samples)

    def record_failure(self, reason: str) -> None:
        """running -> failed, with the reason for staff. Raises `ClaimLost`."""
        self._end(EvaluationState.FAILED, reason=reason[:500])

    def requeue(self) -> None:
        """Undo the claim after a crash: running -> queued, or failed after `MAX_ATTEMPTS` dead workers."""
        type(self).objects.filter(pk=self.pk, claim_token=self.claim_token).release_claims()

    def _end(self, state: EvaluationState, **columns: Any) -> None:
        columns |= {"state": state, "stage": "", "finished_at": timezone.now(), **no_claim()}
        self.write_claimed(EvaluationState.RUNNING, columns)
