"""A training run in words and numbers: how far it is, what it was asked to do, and with what."""

import shlex
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone

from catalog.admin.runs.figures import best_figures
from catalog.admin.runs.options import as_chosen
from catalog.models import RunState, RunTracker, TrainingRun
from catalog.run_folder import run_folder
from catalog.services.training.options import option_arguments, option_list

COUNTED = {
    "train": "Photos to learn from",
    "val": "Photos held back",
    "test": "Photos held back for a test",
    "labels": "Photos by label",
    "pairs": "Photos from feedback",
}


def percent_of(run: TrainingRun) -> int:
    share = run.progress.get("share")
    if run.state == RunState.DONE:
        return 100
    return round(100 * min(max(float(share), 0.0), 1.0)) if isinstance(share, int | float) else 0


def epoch_of(run: TrainingRun) -> str:
    """Such as "3 of 16"; empty before the first."""
    epoch, epochs = run.progress.get("epoch"), run.progress.get("epochs")
    return f"{epoch} of {epochs}" if epoch and epochs else ""


def figures_of(run: TrainingRun) -> list[tuple[str, str]]:
    """The numbers beside the progress bar: name and value."""
    progress, running = run.progress, run.state == RunState.RUNNING
    figures = [("Epoch", epoch_of(run))]
    if running:
        figures += [
            ("Step", f"{progress['step']} of {progress['steps']}" if progress.get("steps") else ""),
            ("Done", f"{progress['done']:,} of {progress['of']:,}" if progress.get("of") else ""),
            ("Time left", _left(progress.get("seconds_left"))),
            ("Photos a second", f"{progress['photos_per_second']:.0f}" if progress.get("photos_per_second") else ""),
            ("Loss", f"{progress['loss']:.3f}" if isinstance(progress.get("loss"), int | float) else ""),
        ]
    figures.append(("For" if running else "Took", took(run)))
    return [(name, value) for name, value in (*figures, *best_figures(run)) if value]


def facts_of(run: TrainingRun) -> list[tuple[str, Any]]:
    """What the run was asked to do, and with what."""
    facts = [
        ("Kind", run.get_kind_display()),
        ("Photos from", run.get_source_display()),
        ("Manifest", run.manifest),
        ("Preset", run.preset),
        ("Started by", run.started_by),
        ("Asked for", moment(run.created_at)),
        ("Begun", moment(run.started_at)),
        ("Ended", moment(run.finished_at)),
        *counts_of(run.data),
    ]
    return [(name, value) for name, value in facts if value not in ("", None)]


def counts_of(data: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What was counted, in words."""
    return [(COUNTED.get(name, name.replace("_", " ").capitalize()), _counted(value)) for name, value in data.items()]


def changed_options(run: TrainingRun) -> list[tuple[str, Any]]:
    """Those hyperparameters that are not the command line's own, by name."""
    values = ((option, run.options.get(option.name, option.default)) for option in option_list(run.kind))
    return [(option.name, as_chosen(value)) for option, value in values if value != option.default]


def command_of(run: TrainingRun) -> str:
    """The same training by hand, while its photos are still listed there."""
    words = ["python", "-m", "ml", f"train-{run.kind}", "--data", str(run_folder(run) / "data.csv"), "--out", run.name]
    return shlex.join([*words, *option_arguments(run.kind, run.options)])


def took(run: TrainingRun) -> str:
    """How long it trained, or has trained so far."""
    if run.started_at is None:
        return ""
    return in_words((run.finished_at or timezone.now()) - run.started_at)


def in_words(span: timedelta) -> str:
    """A span in its two largest units."""
    seconds = max(int(span.total_seconds()), 0)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"


def moment(moment: datetime | None) -> str:
    """In the site's time zone, without seconds."""
    return "" if moment is None else f"{timezone.localtime(moment):%Y-%m-%d %H:%M}"


def _left(seconds: Any) -> str:
    """Rounded, since it is a guess."""
    if not isinstance(seconds, int | float) or seconds < 0:
        return ""
    if seconds < 60:
        return "less than a minute"
    return f"about {in_words(timedelta(minutes=round(seconds / 60))).removesuffix(' 0 s')}"


def _counted(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {_counted(inner)}" for name, inner in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(map(_counted, value))
    return f"{value:,}" if isinstance(value, int) else str(value)


def tracker_hint(run: TrainingRun) -> str:
    files = run_folder(run) / "run"
    if run.tracker == RunTracker.TENSORBOARD:
        return f"TensorBoard: tensorboard --logdir {files / 'tensorboard'}"
    if run.tracker == RunTracker.WANDB:
        return f"Weights & Biases: the run is called {run.name} there; an offline one is sent by wandb sync {files}"
    return ""
