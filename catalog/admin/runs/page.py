"""What the page of a training run shows. Its parts are drawn apart, so that only those that changed are sent again."""

from hashlib import blake2s
from typing import Any

from django.http import HttpRequest
from django.template.loader import render_to_string

from catalog.admin.charts import draw
from catalog.admin.runs.figures import epochs_table, run_charts, trace_table
from catalog.admin.runs.pictures import pictures_shown
from catalog.admin.runs.wording import (
    changed_options,
    command_of,
    epoch_of,
    facts_of,
    figures_of,
    percent_of,
    tracker_hint,
)
from catalog.models import RunState, TrainingRun
from catalog.services.training.waiting import run_is_silent, run_waiting_reason

MAY = ("add", "change", "delete")
PARTS = ("state", "actions", "curves", "pictures", "log", "facts", "poll", "news")
LABELS = {
    RunState.QUEUED: "default",
    RunState.RUNNING: "info",
    RunState.DONE: "success",
    RunState.FAILED: "danger",
    RunState.CANCELLED: "warning",
}


def drawn_parts(request: HttpRequest, run: TrainingRun) -> dict[str, dict[str, str]]:
    """The parts by name: the markup of each, and a mark that tells whether a browser has it already."""
    context = shown(run) | {name: request.user.has_perm(f"catalog.{name}_trainingrun") for name in MAY}
    texts = {part: render_to_string(f"admin/catalog/trainingrun/_{part}.html", context) for part in PARTS}
    return {part: {"markup": text, "mark": f"{part}:{_mark(text)}"} for part, text in texts.items()}


def shown(run: TrainingRun) -> dict[str, Any]:
    """What the templates of the parts need."""
    ended = run.has_ended
    return {
        "run": run,
        "label": LABELS[RunState(run.state)],
        "ended": ended,
        "failed": run.state == RunState.FAILED,
        "waits_for": run_waiting_reason(run=run),
        "silent": run_is_silent(run=run),
        "stopping": run.cancel_requested and not ended,
        "resumable": run.state in (RunState.FAILED, RunState.CANCELLED),
        "percent": percent_of(run),
        "epoch": epoch_of(run),
        "figures": figures_of(run),
        "charts": [chart for chart in map(draw, run_charts(run)) if chart],
        "epochs_table": epochs_table(run),
        "trace_table": trace_table(run),
        "pictures": pictures_shown(run),
        "facts": facts_of(run),
        "options": changed_options(run),
        "command": command_of(run),
        "tracker_hint": tracker_hint(run),
    }


def _mark(text: str) -> str:
    return blake2s(text.encode(), digest_size=6).hexdigest()
