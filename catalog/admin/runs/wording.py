"""A training run as text: progress, durations, settings, command line."""

import shlex
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone

from catalog.admin.runs.metrics import best_metrics
from catalog.admin.runs.options import display_value
from catalog.models import RunState, RunTracker, TrainingRun
from catalog.run_folder import run_folder
from catalog.services.training.options import option_arguments, option_list

COUNT_NAMES = {
    "train": "Training photos",
    "val": "Validation photos",
    "test": "Test photos",
    "labels": "Photos by label",
    "pairs": "Photos from feedback",
}


def progress_percent(run: TrainingRun) -> int:
    """0 to 100; 0 while the progress is unknown."""
    share = run.progress.get("share")
    if run.state == RunState.DONE:
        return 100
    return round(100 * min(max(float(share), 0.0), 1.0)) if isinstance(share, int | float) else 0


def epoch_text(run: TrainingRun) -> str:
    """The epoch such as "3 of 16"; "" before the first."""
    epoch, epochs = run.progress.get("epoch"), run.progress.get("epochs")
    return f"{epoch} of {epochs}" if epoch and epochs else ""


def progress_details(run: TrainingRun) -> list[tuple[str, str]]:
    """The numbers under the progress bar as (name, value)."""
    progress, is_running = run.progress, run.state == RunState.RUNNING
    details = [("Epoch", epoch_text(run))]
    if is_running:
        details += [
            ("Step", f"{progress['step']} of {progress['steps']}" if progress.get("steps") else ""),
            ("Done", f"{progress['done']:,} of {progress['of']:,}" if progress.get("of") else ""),
            ("Time left", _time_left(progress.get("seconds_left"))),
            ("Photos per second", f"{progress['photos_per_second']:.0f}" if progress.get("photos_per_second") else ""),
            ("Loss", f"{progress['loss']:.3f}" if isinstance(progress.get("loss"), int | float) else ""),
        ]
    details.append(("Running for" if is_running else "Duration", duration_text(run)))
    return [(name, value) for name, value in (*details, *best_metrics(run)) if value]


def run_details(run: TrainingRun) -> list[tuple[str, Any]]:
    """The settings, times and photo counts of the run as (name, value)."""
    details = [
        ("Kind", run.get_kind_display()),
        ("Photos from", run.get_source_display()),
        ("Manifest", run.manifest),
        ("Preset", run.preset),
        ("Started by", run.started_by),
        ("Requested", format_time(run.created_at)),
        ("Started", format_time(run.started_at)),
        ("Finished", format_time(run.finished_at)),
        *count_rows(run.data),
    ]
    return [(name, value) for name, value in details if value not in ("", None)]


def count_rows(data: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The counts of the photos of a run as (name, text)."""
    return [
        (COUNT_NAMES.get(name, name.replace("_", " ").capitalize()), _count_text(value)) for name, value in data.items()
    ]


def changed_options(run: TrainingRun) -> list[tuple[str, Any]]:
    """The hyperparameters that differ from the defaults of the command line, as (name, value)."""
    values = ((option, run.options.get(option.name, option.default)) for option in option_list(run.kind))
    return [(option.name, display_value(value)) for option, value in values if value != option.default]


def command_line(run: TrainingRun) -> str:
    """The shell command that repeats this training, as long as the run's `data.csv` exists."""
    words = ["python", "-m", "ml", f"train-{run.kind}", "--data", str(run_folder(run) / "data.csv"), "--out", run.name]
    return shlex.join([*words, *option_arguments(run.kind, run.options)])


def duration_text(run: TrainingRun) -> str:
    """The duration of the training, so far if it is still running; "" before the start."""
    if run.started_at is None:
        return ""
    return format_duration((run.finished_at or timezone.now()) - run.started_at)


def format_duration(duration: timedelta) -> str:
    """A duration in its two largest units, such as "2 h 5 min"."""
    seconds = max(int(duration.total_seconds()), 0)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"


def format_time(time: datetime | None) -> str:
    """Format a time in the site's time zone, without seconds; "" for None."""
    return "" if time is None else f"{timezone.localtime(time):%Y-%m-%d %H:%M}"


def _time_left(seconds: Any) -> str:
    """The estimated time left, rounded to minutes; "" if unknown."""
    if not isinstance(seconds, int | float) or seconds < 0:
        return ""
    if seconds < 60:
        return "less than a minute"
    return f"about {format_duration(timedelta(minutes=round(seconds / 60))).removesuffix(' 0 s')}"


def _count_text(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {_count_text(inner)}" for name, inner in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(map(_count_text, value))
    return f"{value:,}" if isinstance(value, int) else str(value)


def tracker_hint(run: TrainingRun) -> str:
    """How to open the run in its experiment tracker; "" without one."""
    files = run_folder(run) / "run"
    if run.tracker == RunTracker.TENSORBOARD:
        return f"TensorBoard: tensorboard --logdir {files / 'tensorboard'}"
    if run.tracker == RunTracker.WANDB:
        return f"Weights & Biases: the run is named {run.name}; upload an offline run with: wandb sync {files}"
    return ""
