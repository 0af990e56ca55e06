from typing import Any

from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from catalog.errors import IllegalTransition
from catalog.models.claims import NUDGE_AGAIN, Claimable, ClaimableQuerySet, new_claim, no_claim
from catalog.models.encoders import Encoder
from catalog.models.users import User

MAX_ATTEMPTS = 3  # a run that dies so often without another finished epoch would die for ever
LOG_TAIL = 20_000  # characters of the log that the row keeps


class RunKind(models.TextChoices):
    METRIC = "metric", "metric encoder"
    CLASSIFIER = "classifier", "classifier"


class RunSource(models.TextChoices):
    """Where a run's photos come from."""

    CATALOGUE = "catalogue", "the catalogue"
    MANIFEST = "manifest", "a manifest"
    BOTH = "both", "the catalogue and a manifest"


class RunTracker(models.TextChoices):
    NONE = "none", "none"
    WANDB = "wandb", "Weights & Biases"
    TENSORBOARD = "tensorboard", "TensorBoard"


class RunState(models.TextChoices):
    """queued -> running -> done, failed or cancelled; those two may be resumed: -> queued."""

    QUEUED = "queued"  # waits for a train worker
    RUNNING = "running"  # claimed by one
    DONE = "done"  # its encoder is registered
    FAILED = "failed"
    CANCELLED = "cancelled"


class TrainingRunQuerySet(ClaimableQuerySet["TrainingRun"]):
    def claim(self, pk: int | str, *, worker: str) -> "TrainingRun | None":
        """Take a queued run; None if it is gone, was cancelled, or is someone else's."""
        claim = new_claim(worker)
        started = models.functions.Coalesce("started_at", models.Value(timezone.now()))
        waiting = self.filter(pk=pk, state=RunState.QUEUED)
        if not waiting.update(state=RunState.RUNNING, reason="", started_at=started, **claim):
            return None
        return self.filter(pk=pk, claim_token=claim["claim_token"]).first()

    def release(self, why: str = "The worker was stopped.") -> int:
        """Queue claimed runs again: they go on from their last checkpoint. Those that died too often fail.

        `why` is told as the reason of these. Returns how many there were.
        """
        held = self.filter(state=RunState.RUNNING)
        ended = held.filter(cancel_requested=True).update(
            state=RunState.CANCELLED, finished_at=timezone.now(), **no_claim()
        )
        exhausted = held.filter(attempts__gte=MAX_ATTEMPTS - 1)
        ended += exhausted.update(
            state=RunState.FAILED,
            reason=f"It stopped {MAX_ATTEMPTS} times without finishing another epoch. The last time: {why}"[:500],
            finished_at=timezone.now(),
            **no_claim(),
        )
        overdue = timezone.now() - NUDGE_AGAIN
        again = held.update(state=RunState.QUEUED, attempts=F("attempts") + 1, nudged_at=overdue, **no_claim())
        return ended + again

    def take_undelivered(self) -> "list[TrainingRun]":
        """Queued runs whose message seems lost, oldest first."""
        return self.filter(state=RunState.QUEUED).overdue()


class TrainingRun(Claimable):
    """One training of an encoder. The worker that has claimed it renews its claim every few seconds.

    Files of a run (log, pictures, checkpoint) are in a folder of its own; what people must see of them later is on
    the row as well.
    """

    name = models.CharField(max_length=100, unique=True, help_text="Becomes the name of its encoder.")
    kind = models.CharField(max_length=10, choices=RunKind, default=RunKind.METRIC)
    source = models.CharField(max_length=10, choices=RunSource, default=RunSource.CATALOGUE)
    manifest = models.CharField(max_length=500, blank=True, help_text="A CSV below the folder for training data.")
    preset = models.CharField(max_length=20, blank=True)
    options = models.JSONField(default=dict, blank=True, help_text="Hyperparameters, by the names of the command line.")
    tracker = models.CharField(max_length=12, choices=RunTracker, default=RunTracker.NONE)
    state = models.CharField(max_length=10, choices=RunState, default=RunState.QUEUED)
    stage = models.CharField(max_length=100, blank=True, help_text="What is done at this moment, in words.")
    progress = models.JSONField(default=dict, blank=True, help_text="The latest step: epoch, step, loss, speed.")
    metrics = models.JSONField(default=list, blank=True, help_text="One object per finished epoch.")
    data = models.JSONField(default=dict, blank=True, help_text="What it learns from: photos and labels, counted.")
    reason = models.CharField(max_length=500, blank=True, help_text="Why it failed, in one line.")
    log_tail = models.TextField(blank=True, help_text="The end of what the training said.")
    attempts = models.PositiveSmallIntegerField(default=0, help_text="Deaths since the last finished epoch.")
    cancel_requested = models.BooleanField(default=False)
    started_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    cloned_from = models.ForeignKey("self", on_delete=models.SET_NULL, null=True, blank=True, related_name="clones")
    encoder = models.OneToOneField(Encoder, on_delete=models.SET_NULL, null=True, blank=True, related_name="run")
    nudged_at = models.DateTimeField(default=timezone.now, editable=False, help_text="When its message was last sent.")
    created_at = models.DateTimeField(auto_now_add=True)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    objects = TrainingRunQuerySet.as_manager()

    class Meta:
        ordering = ("-created_at",)
        indexes = (models.Index(fields=["nudged_at"], condition=Q(state="queued"), name="waiting_runs"),)

    def __str__(self) -> str:
        return self.name

    @property
    def has_ended(self) -> bool:
        return self.state in (RunState.DONE, RunState.FAILED, RunState.CANCELLED)

    def record_progress(self, **columns: Any) -> bool:
        """Renew the claim and write what is new. Returns whether someone wants the run to stop.

        ClaimLost if it was given to another worker meanwhile.
        """
        if "metrics" in columns:
            columns["attempts"] = 0  # another epoch is done: what killed it before does not do so always
        self.write_claimed(RunState.RUNNING, {"claimed_at": timezone.now(), **columns})
        return bool(type(self).objects.filter(pk=self.pk, cancel_requested=True).exists())

    def record_done(self, encoder: Encoder) -> None:
        """running -> done."""
        self._end(RunState.DONE, encoder=encoder, stage="")

    def record_failure(self, reason: str, log_tail: str | None = None) -> None:
        """running -> failed, with the reason in one line."""
        more = {} if log_tail is None else {"log_tail": log_tail[-LOG_TAIL:]}
        self._end(RunState.FAILED, reason=reason[:500], **more)

    def record_cancelled(self) -> None:
        """running -> cancelled."""
        self._end(RunState.CANCELLED)

    def requeue(self, why: str) -> None:
        """Undo the claim after a crash: the run goes on from its checkpoint, or fails if it died too often."""
        type(self).objects.filter(pk=self.pk, claim_token=self.claim_token).release(why)

    def request_cancel(self) -> None:
        """Have it stopped: at once where it still waits, by its worker within seconds where it runs."""
        rows = type(self).objects.filter(pk=self.pk)
        now = timezone.now()
        if rows.filter(state=RunState.QUEUED).update(state=RunState.CANCELLED, finished_at=now):
            return
        if not rows.filter(state=RunState.RUNNING).update(cancel_requested=True):
            raise IllegalTransition(f"{self} has ended already")

    def resume(self) -> None:
        """failed or cancelled -> queued. IllegalTransition from elsewhere."""
        ended = type(self).objects.filter(pk=self.pk, state__in=(RunState.FAILED, RunState.CANCELLED))
        fresh = {"reason": "", "attempts": 0, "cancel_requested": False, "finished_at": None, "stage": ""}
        if not ended.update(state=RunState.QUEUED, nudged_at=timezone.now(), **fresh):
            raise IllegalTransition(f"{self} is {self.state}: only a failed or cancelled run can be resumed")

    def _end(self, state: RunState, **columns: Any) -> None:
        columns |= {"state": state, "finished_at": timezone.now(), **no_claim()}
        self.write_claimed(RunState.RUNNING, columns)
