"""Status of a training run in words: why it is waiting, what it is doing, whether its worker is silent."""

from datetime import timedelta

from django.utils import timezone

from catalog.models import RunState, TrainingRun

SILENT_AFTER = timedelta(seconds=15)  # a training worker extends its claim every few seconds
UNTAKEN_AFTER = timedelta(seconds=20)  # after this time the message was sent twice, so a worker is missing


def run_waiting_reason(*, run: TrainingRun) -> str:
    """The reason why a queued run has not started, in one sentence; "" for a run that is not queued."""
    if run.state != RunState.QUEUED:
        return ""
    others = TrainingRun.objects.exclude(pk=run.pk).defer("log_tail", "metrics")
    if training := others.filter(state=RunState.RUNNING).order_by("started_at").first():
        return f"Waits for {training}, which is {run_stage_description(run=training)}."
    if first := others.filter(state=RunState.QUEUED, created_at__lt=run.created_at).order_by("created_at").first():
        return f"Waits for {first}, which was started before it."
    if timezone.now() - run.created_at < UNTAKEN_AFTER:
        return "No train worker has taken it yet."
    return "No train worker has taken it yet. Start one: the line “train” of the Procfile."


def run_stage_description(*, run: TrainingRun) -> str:
    """The progress of a run, such as "in epoch 3 of 16", or its stage outside of the epochs."""
    epoch, epochs = run.progress.get("epoch"), run.progress.get("epochs")
    if epoch and epochs and run.stage in ("", "training"):
        return f"in epoch {epoch} of {epochs}"
    return f"busy with: {run.stage}" if run.stage else "about to begin"


def run_is_silent(*, run: TrainingRun) -> bool:
    """Whether the worker of a running run has not extended its claim for `SILENT_AFTER`."""
    extended_at = run.claimed_at
    if run.state != RunState.RUNNING or extended_at is None:
        return False
    return timezone.now() - extended_at > SILENT_AFTER
