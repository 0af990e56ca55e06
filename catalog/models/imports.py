"""Catalogue imports and their progress."""

from datetime import timedelta
from typing import Any

from django.db import models
from django.utils import timezone

MAX_ERRORS = 1000  # refused rows kept in the job's row
STALLED_AFTER = timedelta(minutes=2)  # a running import without progress for so long was killed


class ImportState(models.TextChoices):
    """running -> done, failed or interrupted."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"  # the source could not be read at all
    INTERRUPTED = "interrupted"  # killed half-way; importing again continues


class ImportJobQuerySet(models.QuerySet["ImportJob"]):
    """Query that detects killed imports."""

    def mark_interrupted(self) -> int:
        """Mark running imports without recent progress as interrupted. Returns how many."""
        stalled = self.filter(state=ImportState.RUNNING, updated_at__lt=timezone.now() - STALLED_AFTER)
        return stalled.update(state=ImportState.INTERRUPTED, finished_at=timezone.now())


class ImportJob(models.Model):
    """One import of a source into the catalogue."""

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
        """Save the counts and the first `MAX_ERRORS` refused rows, and renew the heartbeat `updated_at`."""
        self.counts = counts
        self.errors = errors[:MAX_ERRORS]
        self.save(update_fields=["counts", "errors", "updated_at"])

    def finish(self, *, reason: str = "") -> None:
        """End the import: failed when there is a reason, else done."""
        self.state = ImportState.FAILED if reason else ImportState.DONE
        self.reason = reason[:500]
        self.finished_at = timezone.now()
        self.save(update_fields=["state", "reason", "finished_at", "updated_at"])
