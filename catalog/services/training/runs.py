"""Create, cancel, resume and delete training runs."""

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
    """Create a training run and queue it after commit. `options` override values of the preset; "" means no preset.

    Draws an evaluation set first when there is none. An empty `name` becomes a free name with the date.

    Raises `Refused`: `preflight` with all problems that `preflight` finds; `unknown_kind`, `unknown_source`,
    `unknown_tracker` or `unknown_preset`; `bad_name`; `name_taken` (409); `bad_option`.
    """
    merged_options = run_options(kind=kind, preset=preset, options=options or {})
    _require_known(source, RunSource, "source")
    _require_known(tracker, RunTracker, "tracker")
    name = name.strip() or _free_name(kind)
    _require_free(name)
    manifest = "" if source == RunSource.CATALOGUE else manifest
    check = preflight(kind=kind, source=source, manifest=manifest, options=merged_options)
    if check.problems:
        raise Refused("preflight", " ".join(check.problems))
    evaluation_set_ensure(by=started_by)
    run = TrainingRun(
        name=name,
        kind=kind,
        source=source,
        manifest=manifest,
        preset=preset,
        options=merged_options,
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
    """The options of a preset, overridden by `options` and checked.

    Raises `Refused`: `unknown_kind`; `unknown_preset`; `bad_option`.
    """
    _require_known(kind, RunKind, "kind")
    if preset and preset not in PRESETS[kind]:
        names = ", ".join(PRESETS[kind])
        raise Refused("unknown_preset", _("There is no preset of this name; known are {names}.").format(names=names))
    return checked_options(kind, {**PRESETS[kind].get(preset, {}), **options})


def run_arguments(*, run: TrainingRun) -> list[str]:
    """The command-line arguments for the options of a run. `start_from` becomes the encoder's folder on this machine.

    Raises `Refused`: `unknown_encoder` when that encoder was deleted or has no folder here.
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
    """Cancel a queued run at once, a running one within seconds.

    Raises `Refused`: `run_ended` (409).
    """
    try:
        run.request_cancel()
    except IllegalTransition:
        raise Refused("run_ended", "The run has ended already.", status=409) from None
    run.refresh_from_db()


def run_resume(*, run: TrainingRun) -> None:
    """Queue a failed or cancelled run again; it continues from its last checkpoint.

    Raises `Refused`: `run_not_resumable` (409).
    """
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
    """Delete a run with its files; its registered encoder stays. Idempotent.

    Raises `Refused`: `run_not_ended` (409).
    """
    ended = TrainingRun.objects.filter(pk=run.pk, state__in=ENDED)
    if TrainingRun.objects.filter(pk=run.pk).exists() and not ended.exists():
        raise Refused("run_not_ended", "Only a run that has ended can be deleted. Cancel it first.", status=409)
    folder, encoder_folder = run_folder(run), run_encoder_folder(run)
    ended.delete()
    shutil.rmtree(folder, ignore_errors=True)
    if not Encoder.objects.filter(name=run.name).exists():  # an unregistered folder would block the name
        shutil.rmtree(encoder_folder, ignore_errors=True)


def _require_free(name: str) -> None:
    if not is_encoder_name(name):
        raise Refused(
            "bad_name", "A name is made of letters without accents, digits, dots, dashes and underscores, 100 at most."
        )
    if _is_taken(name):
        raise _taken(name)


def _is_taken(name: str) -> bool:
    has_row = TrainingRun.objects.filter(name=name).exists() or Encoder.objects.filter(name=name).exists()
    return has_row or any((encoder_dir / name).exists() for encoder_dir in settings.ENCODER_DIRS)


def _taken(name: str) -> Refused:
    detail = _("There is a run or an encoder called {name!r} already.").format(name=name)
    return Refused("name_taken", detail, status=409)


def _free_name(kind: str) -> str:
    """A free name such as metric-2026-11-24, or metric-2026-11-24-2 for the second run of the day."""
    day = f"{kind}-{timezone.localdate():%Y-%m-%d}"
    name, number = day, 1
    while _is_taken(name):
        number += 1
        name = f"{day}-{number}"
    return name


def _require_known(value: str, choices: Any, field: str) -> None:
    if value not in choices.values:
        names = ", ".join(choices.values)
        detail = _("{what} is one of: {names}.").format(what=field, names=names)
        raise Refused(f"unknown_{field}", detail)
