"""The page of a training run, rendered in parts so that live updates send only the parts that changed."""

from hashlib import blake2s
from typing import Any

from django.http import HttpRequest
from django.template.loader import render_to_string

from catalog.admin.charts import draw
from catalog.admin.runs.metrics import epochs_table, run_charts, trace_table
from catalog.admin.runs.pictures import list_pictures
from catalog.admin.runs.wording import (
    changed_options,
    command_line,
    epoch_text,
    progress_details,
    progress_percent,
    run_details,
    tracker_hint,
)
from catalog.models import RunState, TrainingRun
from catalog.services.training.status import run_is_silent, run_waiting_reason

PERMISSIONS = ("add", "change", "delete")
PARTS = ("state", "actions", "curves", "pictures", "log", "details", "poll", "announcement")
STATE_COLOURS = {
    RunState.QUEUED: "default",
    RunState.RUNNING: "info",
    RunState.DONE: "success",
    RunState.FAILED: "danger",
    RunState.CANCELLED: "warning",
}


def render_parts(request: HttpRequest, run: TrainingRun) -> dict[str, dict[str, str]]:
    """Render the parts by name: the `markup` of each and its `etag`, which changes with the markup."""
    context = run_context(run) | {name: request.user.has_perm(f"catalog.{name}_trainingrun") for name in PERMISSIONS}
    texts = {part: render_to_string(f"admin/catalog/trainingrun/_{part}.html", context) for part in PARTS}
    return {part: {"markup": text, "etag": f"{part}:{_etag(text)}"} for part, text in texts.items()}


def run_context(run: TrainingRun) -> dict[str, Any]:
    """The context of the part templates."""
    return {
        "run": run,
        "colour": STATE_COLOURS[RunState(run.state)],
        "has_ended": run.has_ended,
        "has_failed": run.state == RunState.FAILED,
        "waits_for": run_waiting_reason(run=run),
        "is_silent": run_is_silent(run=run),
        "is_stopping": run.cancel_requested and not run.has_ended,
        "can_resume": run.state in (RunState.FAILED, RunState.CANCELLED),
        "percent": progress_percent(run),
        "epoch": epoch_text(run),
        "progress_details": progress_details(run),
        "charts": [chart for chart in map(draw, run_charts(run)) if chart],
        "epochs_table": epochs_table(run),
        "trace_table": trace_table(run),
        "pictures": list_pictures(run),
        "details": run_details(run),
        "options": changed_options(run),
        "command": command_line(run),
        "tracker_hint": tracker_hint(run),
    }


def _etag(text: str) -> str:
    return blake2s(text.encode(), digest_size=6).hexdigest()
