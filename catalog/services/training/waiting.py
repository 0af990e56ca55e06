"""What a queued training run waits for, in words: whoever started it wants to know why nothing happens."""

from datetime import timedelta

from django.utils import timezone

from catalog.models import RunState, TrainingRun

SILENT_AFTER = timedelta(seconds=15)  # a worker that trains is heard of every few seconds
UNTAKEN_AFTER = timedelta(seconds=20)  # by then the message was sent a second time


def run_waiting_reason(*, run: TrainingRun) -> str:
    """One sentence; empty for a run that does not wait."""
    if run.state != RunState.QUEUED:
        return ""
    others = TrainingRun.objects.exclude(pk=run.pk).defer("log_tail", "metrics")
    if training := others.filter(state=RunState.RUNNING).order_by("started_at").first():
        return f"Waits for {training}, which is {run_stage_description(run=training)}."
    if first := others.filter(state=RunState.QUEUED, created_at__lt=run.created_at).order_by("created_at").first():
        return f"Waits for {first}, which was started before it."
    if timezone.now() - run.created_at < UNTAKEN_AFTER:
        return "No train worker has taken it yet."
    return "No train worker has taken it yet. Is one running? It is the line “train” of the Procfile."


def run_stage_description(*, run: TrainingRun) -> str:
    """Such as "in epoch 3 of 16", or what it does before and after the epochs."""
    epoch, epochs = run.progress.get("epoch"), run.progress.get("epochs")
    if epoch and epochs and run.stage in ("", "training"):
        return f"in epoch {epoch} of {epochs}"
    return f"busy with: {run.stage}" if run.stage else "about to begin"


def run_is_silent(*, run: TrainingRun) -> bool:
    """Whether a running run's worker was not heard of for longer than it should be."""
    heard = run.claimed_at
    return run.state == RunState.RUNNING and heard is not None and timezone.now() - heard > SILENT_AFTER
