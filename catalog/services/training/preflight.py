"""Preflight check of a training run: the problems that prevent it and notes for staff, in words."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from django.conf import settings
from django.utils.translation import gettext as _

from catalog.errors import Refused
from catalog.models import Encoder, EvaluationSet, RunSource, RunState, TrainingRun
from catalog.services.datasets.evaluation_sets import evaluation_rows_planned
from catalog.services.datasets.manifests import manifest_check, manifest_path, manifest_rows
from catalog.services.datasets.rows import TRAIN, held_out, training_rows
from catalog.services.datasets.training_pairs import training_pairs_count
from catalog.services.training.options import all_options, checked_options
from catalog.services.training.resources import ResourceEstimate, estimate_resources, free_disk_bytes, free_memory_bytes

FEW_PHOTOS: Final = 10  # a label with fewer training photos is recognised badly
MAX_NAMES: Final = 5  # in a sentence


@dataclass(frozen=True)
class Preflight:
    """`problems` prevent the run; `notes` inform; `counts` holds the photos by split and the labels."""

    problems: tuple[str, ...]
    notes: tuple[str, ...]
    counts: dict[str, Any]


def preflight(*, kind: str, source: str, manifest: str = "", options: Mapping[str, Any]) -> Preflight:
    """Check a run before it is created. `options` include those of the preset. Writes nothing, raises nothing."""
    try:
        complete = all_options(kind, checked_options(kind, options))
        counts = _Counts()
        if source != RunSource.MANIFEST:
            _count_catalogue(counts)
        if source != RunSource.CATALOGUE:
            _count_manifest(counts, manifest, complete, source)
    except Refused as error:
        return Preflight((error.detail,), (), {})
    problems = [*counts.problems, *_photo_problems(counts), *_start_problems(complete)]
    estimate = estimate_resources(options=complete, train=counts.train, held=counts.held)
    problems += _space_problems(estimate)
    notes = [*counts.notes, *_label_notes(counts), *_time_notes(estimate), *_queue_notes()]
    return Preflight(tuple(problems), tuple(notes), counts.as_json())


class _Counts:
    """The photos of a run, counted by split and label, with problems and notes about them."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self.notes: list[str] = []
        self.splits: Counter[str] = Counter()
        self.labels: Counter[str] = Counter()
        self.left_out: Counter[str] = Counter()
        self.pairs = 0

    def add(self, label: str, split: str, trains: bool) -> None:
        self.splits[split] += 1
        if trains:
            self.labels[label] += 1

    @property
    def train(self) -> int:
        return self.labels.total()

    @property
    def held(self) -> int:
        return self.splits.total() - self.train

    def as_json(self) -> dict[str, Any]:
        labels = dict(self.labels.most_common())
        return {**self.splits, "labels": labels, "left_out": dict(self.left_out), "pairs": self.pairs}


def _count_catalogue(counts: _Counts) -> None:
    has_set = EvaluationSet.objects.exists()
    planned = [] if has_set else evaluation_rows_planned()
    chosen = training_rows(held=held_out(planned))
    for row in chosen.rows:
        counts.add(row.label, row.split, row.split == TRAIN)
    counts.left_out += chosen.left_out
    counts.pairs = training_pairs_count()
    if planned:
        detail = _("{count} photos will be set aside to compare encoders on; they are never used for training.")
        counts.notes.append(detail.format(count=len(planned)))
    elif not has_set:
        counts.notes.append(_("There are too few items to set some aside, so encoders cannot be compared yet."))


def _count_manifest(counts: _Counts, manifest: str, options: Mapping[str, Any], source: str) -> None:
    path = manifest_path(manifest)
    column = options["label_column"]
    if column != "label" and source == RunSource.BOTH:
        raise Refused("bad_option", "Labels from another column are for runs that take a manifest alone.")
    manifest_check(path)
    splits = [split.strip() for split in options["train_splits"].split(",")]
    for row in manifest_rows(path):
        if column not in row:
            raise Refused("bad_option", _("The manifest has no column {name!r}.").format(name=column))
        if row[column]:
            counts.add(row[column], row["split"], row["split"] in splits)


def _photo_problems(counts: _Counts) -> list[str]:
    if not counts.splits.total():
        return [_("There are no photos to train on: import a catalogue with categories, or choose a manifest.")]
    problems = []
    enough = [label for label, count in counts.labels.items() if count > 1]
    if len(enough) < 2:
        detail = _("At least two categories with two or more training photos are needed. Found: {count}.")
        problems.append(detail.format(count=len(enough)))
    elif len(enough) < len(counts.labels):
        single = sorted(set(counts.labels) - set(enough))
        detail = _("Some labels have only one training photo, and two are needed: {names}.")
        problems.append(detail.format(names=_names(single)))
    if not counts.held:
        problems.append(_("There are too few items to hold some out for validation. Add more items."))
    return problems


def _start_problems(options: Mapping[str, Any]) -> list[str]:
    name = options["start_from"]
    if not name:
        return []
    encoder = Encoder.objects.filter(name=name).first()
    try:
        folder = encoder.folder if encoder else None
    except FileNotFoundError:
        folder = None
    if encoder is None or folder is None:
        return [_("There is no encoder {name!r} to start from.").format(name=name)]
    if encoder.card.get("backbone") != options["backbone"]:
        detail = _("{name} has the backbone {backbone}; choose it for the run as well.")
        return [detail.format(name=name, backbone=encoder.card.get("backbone"))]
    return []


def _space_problems(estimate: ResourceEstimate) -> list[str]:
    problems = []
    free = free_disk_bytes(Path(settings.RUNS_DIR))
    if free < estimate.disk:
        detail = _("The run needs about {needed} of disk, and {free} are free. Fewer views need less.")
        problems.append(detail.format(needed=_size(estimate.disk), free=_size(free)))
    memory = free_memory_bytes()
    if memory is not None and memory < estimate.memory:
        detail = _("The run needs about {needed} of memory, and {free} are free. A smaller side needs less.")
        problems.append(detail.format(needed=_size(estimate.memory), free=_size(memory)))
    return problems


def _label_notes(counts: _Counts) -> list[str]:
    notes = []
    few = sorted(label for label, count in counts.labels.items() if 1 < count < FEW_PHOTOS)
    if few:
        notes.append(
            _("Few training photos, so these labels may be recognised badly: {names}.").format(names=_names(few))
        )
    for reason, count in counts.left_out.items():
        notes.append(_("Left out: {count} photos {reason}.").format(count=count, reason=_(reason)))
    if counts.pairs:
        notes.append(_("Photos of people whose feedback was accepted: {count}.").format(count=counts.pairs))
    return notes


def _time_notes(estimate: ResourceEstimate) -> list[str]:
    if any(Path("/dev").glob("nvidia[0-9]*")):
        return []  # with a GPU the time is short and depends on its model
    return [_("The run will take about {time} on two free CPU cores.").format(time=_span(estimate.minutes))]


def _queue_notes() -> list[str]:
    waiting = TrainingRun.objects.filter(state__in=(RunState.QUEUED, RunState.RUNNING))
    return [_("Another run is under way; this one will wait for it.")] if waiting.exists() else []


def _names(names: list[str]) -> str:
    shown = ", ".join(names[:MAX_NAMES])
    return f"{shown} (+{len(names) - MAX_NAMES})" if len(names) > MAX_NAMES else shown


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB"


def _span(minutes: float) -> str:
    if minutes < 90:
        return _("{count} minutes").format(count=max(1, round(minutes)))
    return _("{count} hours").format(count=round(minutes / 60, 1))
