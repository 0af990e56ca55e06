"""Training runs and their states."""

from typing import Any

from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from catalog.errors import IllegalTransition
from catalog.models.claims import RESEND_AFTER, Claimable, ClaimableQuerySet, new_claim, no_claim
from catalog.models.encoders import Encoder
from catalog.models.users import User

MAX_ATTEMPTS = 3  # crashes without another finished epoch; more of them would not help
LOG_TAIL = 20_000  # characters of the log kept in the row


class RunKind(models.TextChoices):
    """The kind of encoder that a run trains."""

    METRIC = "metric", "metric encoder"
    CLASSIFIER = "classifier", "classifier"


class RunSource(models.TextChoices):
    """Where the photos of a run come from."""

    CATALOGUE = "catalogue", "the catalogue"
    MANIFEST = "manifest", "a manifest"
    BOTH = "both", "the catalogue and a manifest"


class RunTracker(models.TextChoices):
    """The experiment tracker that also receives the metrics and pictures of a run."""

    NONE = "none", "none"
    WANDB = "wandb", "Weights & Biases"
    TENSORBOARD = "tensorboard", "TensorBoard"


class RunState(models.TextChoices):
    """queued -> running -> done, failed or cancelled; failed and cancelled -> queued by `TrainingRun.resume`."""

    QUEUED = "queued"  # waits for a train worker
    RUNNING = "running"  # claimed by a train worker
    DONE = "done"  # its encoder is registered
    FAILED = "failed"
    CANCELLED = "cancelled"


class TrainingRunQuerySet(ClaimableQuerySet["TrainingRun"]):
    """Queries that claim, requeue and resend training runs."""

    def claim(self, pk: int | str, *, worker: str) -> "TrainingRun | None":
        """Claim a queued run; None if it was deleted, cancelled, or claimed by another worker."""
        claim = new_claim(worker)
        started = models.functions.Coalesce("started_at", models.Value(timezone.now()))
        waiting = self.filter(pk=pk, state=RunState.QUEUED)
        if not waiting.update(state=RunState.RUNNING, reason="", started_at=started, **claim):
            return None
        return self.filter(pk=pk, claim_token=claim["claim_token"]).first()

    def release_claims(self, why: str = "The worker was stopped.") -> int:
        """Requeue running runs, which continue from their last checkpoint. Returns how many there were.

        Runs with a cancel request become cancelled. Runs that crashed `MAX_ATTEMPTS` times without another finished
        epoch fail with `why` as part of the reason.
        """
        running = self.filter(state=RunState.RUNNING)
        ended = running.filter(cancel_requested=True).update(
            state=RunState.CANCELLED, finished_at=timezone.now(), **no_claim()
        )
        exhausted = running.filter(attempts__gte=MAX_ATTEMPTS - 1)
        ended += exhausted.update(
            state=RunState.FAILED,
            reason=f"It stopped {MAX_ATTEMPTS} times without finishing another epoch. The last time: {why}"[:500],
            finished_at=timezone.now(),
            **no_claim(),
        )
        overdue = timezone.now() - RESEND_AFTER
        requeued = running.update(state=RunState.QUEUED, attempts=F("attempts") + 1, nudged_at=overdue, **no_claim())
        return ended + requeued

    def take_undelivered(self) -> "list[TrainingRun]":
        """Queued runs whose message seems lost, oldest first; each is returned once per `RESEND_AFTER`."""
        return self.filter(state=RunState.QUEUED).take_overdue()


class TrainingRun(Claimable):
    """The training of one encoder. The worker that claimed it extends its claim every few seconds.

    The files of a run (log, pictures, checkpoint) are in `catalog.run_folder.run_folder`. What staff must see after
    the files are gone is in the row as well.
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
        """Whether the run is done, failed or cancelled."""
        return self.state in (RunState.DONE, RunState.FAILED, RunState.CANCELLED)

    def record_progress(self, **columns: Any) -> bool:
        """Extend the claim and write `columns`. Returns whether cancelling was requested. Raises `ClaimLost`."""
        if "metrics" in columns:
            columns["attempts"] = 0  # another epoch is finished, so the earlier crashes do not prevent progress
        self.write_claimed(RunState.RUNNING, {"claimed_at": timezone.now(), **columns})
        return bool(type(self).objects.filter(pk=self.pk, cancel_requested=True).exists())

    def record_done(self, encoder: Encoder) -> None:
        """running -> done. Raises `ClaimLost`."""
        self._end(RunState.DONE, encoder=encoder, stage="")

    def record_failure(self, reason: str, log_tail: str | None = None) -> None:
        """running -> failed, with the reason in one line. Raises `ClaimLost`."""
        columns = {} if log_tail is None else {"log_tail": log_tail[-LOG_TAIL:]}
        self._end(RunState.FAILED, reason=reason[:500], **columns)

    def record_cancelled(self) -> None:
        """running -> cancelled. Raises `ClaimLost`."""
        self._end(RunState.CANCELLED)

    def requeue(self, why: str) -> None:
        """Undo the claim after a crash: running -> queued, or failed after `MAX_ATTEMPTS`; see `release_claims`."""
        type(self).objects.filter(pk=self.pk, claim_token=self.claim_token).release_claims(why)

    def request_cancel(self) -> None:
        """Cancel a queued run at once; ask the worker of a running one to stop, which takes seconds.

        Raises `IllegalTransition` when the run has ended.
        """
        rows = type(self).objects.filter(pk=self.pk)
        now = timezone.now()
        if rows.filter(state=RunState.QUEUED).update(state=RunState.CANCELLED, finished_at=now):
            return
        if not rows.filter(state=RunState.RUNNING).update(cancel_requested=True):
            raise IllegalTransition(f"{self} has ended already")

    def resume(self) -> None:
        """failed or cancelled -> queued. Raises `IllegalTransition` from other states."""
        ended = type(self).objects.filter(pk=self.pk, state__in=(RunState.FAILED, RunState.CANCELLED))
        initial = {"reason": "", "attempts": 0, "cancel_requested": False, "finished_at": None, "stage": ""}
        if not ended.update(state=RunState.QUEUED, nudged_at=timezone.now(), **initial):
            raise IllegalTransition(f"{self} is {self.state}: only a failed or cancelled run can be resumed")

    def _end(self, state: RunState, **columns: Any) -> None:
        columns |= {"state": state, "finished_at": timezone.now(), **no_claim()}
        self.write_claimed(RunState.RUNNING, columns)
