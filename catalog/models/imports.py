from datetime import timedelta
from typing import Any

from django.db import models
from django.utils import timezone

MAX_ERRORS = 1000  # rows of the table of refusals that are kept
STALLED_AFTER = timedelta(minutes=2)  # a running import that says nothing for so long was killed


class ImportState(models.TextChoices):
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"  # the source as a whole could not be read
    INTERRUPTED = "interrupted"  # killed half-way; running it again goes on


class ImportJobQuerySet(models.QuerySet["ImportJob"]):
    def mark_interrupted(self) -> int:
        """Tell the truth about the imports that were killed."""
        silent = self.filter(state=ImportState.RUNNING, updated_at__lt=timezone.now() - STALLED_AFTER)
        return silent.update(state=ImportState.INTERRUPTED, finished_at=timezone.now())


class ImportJob(models.Model):
    """One reading of a source into the catalogue."""

    source = models.CharField(max_length=1000)
    layout = models.CharField(max_length=50, blank=True)
    state = models.CharField(max_length=12, choices=ImportState, default=ImportState.RUNNING)
    counts = models.JSONField(default=dict, help_text="Items and photos by what became of them.")
    errors = models.JSONField(default=list, help_text=f"The first {MAX_ERRORS} refused rows, each with its reason.")
    reason = models.CharField(max_length=500, blank=True, help_text="Why it failed as a whole.")
    started_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    objects = ImportJobQuerySet.as_manager()

    class Meta:
        ordering = ("-started_at",)

    def __str__(self) -> str:
        return f"{self.source} ({self.state})"

    def record_progress(self, counts: dict[str, int], errors: list[dict[str, Any]]) -> None:
        self.counts = counts
        self.errors = errors[:MAX_ERRORS]
        self.save(update_fields=["counts", "errors", "updated_at"])

    def finish(self, *, reason: str = "") -> None:
        """End the import: as failed when there is a reason, else as done."""
        self.state = ImportState.FAILED if reason else ImportState.DONE
        self.reason = reason[:500]
        self.finished_at = timezone.now()
        self.save(update_fields=["state", "reason", "finished_at", "updated_at"])
