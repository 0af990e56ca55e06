"""Training runs: starting, stopping, going on, deleting."""

import shutil
from collections.abc import Mapping
from typing import Any, Final

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from catalog import tasks
from catalog.errors import IllegalTransition, Refused
from catalog.models import Encoder, RunKind, RunSource, RunState, RunTracker, TrainingRun, User
from catalog.run_folder import run_encoder_folder, run_folder
from catalog.services.datasets.evaluation_sets import evaluation_set_ensure
from catalog.services.training.options import PRESETS, checked_options, option_arguments
from catalog.services.training.preflight import preflight
from ml.formats.encoder_folder import is_encoder_name

ENDED: Final = (RunState.DONE, RunState.FAILED, RunState.CANCELLED)


def run_create(
    *,
    kind: str,
    source: str = RunSource.CATALOGUE,
    manifest: str = "",
    preset: str = "quick",
    options: Mapping[str, Any] | None = None,
    name: str = "",
    tracker: str = RunTracker.NONE,
    started_by: User | None = None,
    cloned_from: TrainingRun | None = None,
) -> TrainingRun:
    """A queued run. `options` change single values of the preset; an empty preset stands for all default values.

    Refused for whatever would make it fail later: see `preflight`, whose problems come as one text.
    """
    chosen = run_options(kind=kind, preset=preset, options=options or {})
    _require_known(source, RunSource, "source")
    _require_known(tracker, RunTracker, "tracker")
    name = name.strip() or _free_name(kind)
    _require_free(name)
    manifest = "" if source == RunSource.CATALOGUE else manifest
    look = preflight(kind=kind, source=source, manifest=manifest, options=chosen)
    if look.problems:
        raise Refused("preflight", " ".join(look.problems))
    evaluation_set_ensure(by=started_by)
    run = TrainingRun(
        name=name,
        kind=kind,
        source=source,
        manifest=manifest,
        preset=preset,
        options=chosen,
        tracker=tracker,
        started_by=started_by,
        cloned_from=cloned_from,
    )
    try:
        with transaction.atomic():
            run.save(force_insert=True)
            tasks.send_train(run.pk)
    except IntegrityError:
        raise _taken(name) from None
    return run


def run_options(*, kind: str, preset: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a preset, changed by `options` and checked."""
    _require_known(kind, RunKind, "kind")
    if preset and preset not in PRESETS[kind]:
        known = ", ".join(PRESETS[kind])
        raise Refused("unknown_preset", _("There is no preset of this name; known are {names}.").format(names=known))
    return checked_options(kind, {**PRESETS[kind].get(preset, {}), **options})


def run_arguments(*, run: TrainingRun) -> list[str]:
    """The words of the command line for its options; an encoder to start from is named by its folder on this machine.

    Refused when that encoder is gone.
    """
    options, name = dict(run.options), run.options.get("start_from")
    if name:
        try:
            options["start_from"] = str(Encoder.objects.get(name=name).folder)
        except (Encoder.DoesNotExist, FileNotFoundError):
            raise Refused(
                "unknown_encoder", _("There is no encoder {name!r} to start from.").format(name=name)
            ) from None
    return option_arguments(run.kind, options)


def run_cancel(*, run: TrainingRun) -> None:
    """Have a run stopped. Refused if it has ended."""
    try:
        run.request_cancel()
    except IllegalTransition:
        raise Refused("run_ended", "The run has ended already.", status=409) from None
    run.refresh_from_db()


def run_resume(*, run: TrainingRun) -> None:
    """Let a failed or cancelled run go on from its last checkpoint. Refused for others."""
    try:
        with transaction.atomic():
            run.resume()
            tasks.send_train(run.pk)
    except IllegalTransition:
        raise Refused(
            "run_not_resumable", "Only a run that failed or was cancelled can be resumed.", status=409
        ) from None
    run.refresh_from_db()


def run_delete(*, run: TrainingRun) -> None:
    """Delete an ended run with its files; its encoder stays. Refused while it waits or runs."""
    ended = TrainingRun.objects.filter(pk=run.pk, state__in=ENDED)
    if TrainingRun.objects.filter(pk=run.pk).exists() and not ended.exists():
        raise Refused("run_not_ended", "Only a run that has ended can be deleted. Cancel it first.", status=409)
    folder, written = run_folder(run), run_encoder_folder(run)
    ended.delete()
    shutil.rmtree(folder, ignore_errors=True)
    if not Encoder.objects.filter(name=run.name).exists():  # written, but never registered: it would block the name
        shutil.rmtree(written, ignore_errors=True)


def _require_free(name: str) -> None:
    if not is_encoder_name(name):
        raise Refused(
            "bad_name", "A name is made of letters without accents, digits, dots, dashes and underscores, 100 at most."
        )
    if _is_taken(name):
        raise _taken(name)


def _is_taken(name: str) -> bool:
    rows = TrainingRun.objects.filter(name=name).exists() or Encoder.objects.filter(name=name).exists()
    return rows or any((place / name).exists() for place in settings.ENCODER_DIRS)


def _taken(name: str) -> Refused:
    detail = _("There is a run or an encoder called {name!r} already.").format(name=name)
    return Refused("name_taken", detail, status=409)


def _free_name(kind: str) -> str:
    """Such as metric-2026-11-24, and metric-2026-11-24-2 for the next one of that day."""
    day = f"{kind}-{timezone.localdate():%Y-%m-%d}"
    name, number = day, 1
    while _is_taken(name):
        number += 1
        name = f"{day}-{number}"
    return name


def _require_known(value: str, choices: Any, what: str) -> None:
    if value not in choices.values:
        known = ", ".join(choices.values)
        detail = _("{what} is one of: {names}.").format(what=what, names=known)
        raise Refused(f"unknown_{what}", detail)
