"""manage.py train: start a training run, and optionally follow it until it ends."""

import json
import time
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from catalog.errors import Refused
from catalog.models import RunKind, RunSource, RunState, RunTracker, TrainingRun
from catalog.services.training.options import QUICK
from catalog.services.training.preflight import preflight
from catalog.services.training.runs import run_create, run_options
from catalog.services.training.status import run_waiting_reason

POLL_SECONDS = 1.0
SHOWN_METRICS = ("train_loss", "val_loss", "recall_at_1", "map_at_r", "garment_at_1", "val_accuracy")


class Command(BaseCommand):
    """Runs `run_create`. Exit code 2: bad settings or failed preflight checks; 1: the run failed; 130: interrupted."""

    help = "Queue a training run for a train worker. Settings and data are checked before it is created."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("kind", choices=RunKind.values, help="What to train.")
        parser.add_argument("--preset", default=QUICK, help="quick (for a CPU, default) or full.")
        parser.add_argument(
            "--source", choices=RunSource.values, default=RunSource.CATALOGUE, help="Where the photos come from."
        )
        parser.add_argument("--manifest", default="", help="A CSV file below TRAINING_DATA_DIR.")
        parser.add_argument(
            "--set", nargs="+", default=[], metavar="NAME=VALUE", help="Hyperparameters; see: python -m ml options KIND"
        )
        parser.add_argument(
            "--name", default="", help="The name of the run and of its encoder; default: kind and date."
        )
        parser.add_argument("--tracker", choices=RunTracker.values, default=RunTracker.NONE, help="Experiment tracker.")
        parser.add_argument("--check", action="store_true", help="Only run the preflight checks.")
        parser.add_argument("--wait", action="store_true", help="Wait until the run has ended and print its progress.")

    def handle(self, *args: Any, **options: Any) -> None:
        data = {name: options[name] for name in ("kind", "source", "manifest")}
        try:
            settings = _parse_settings(options["set"])
            if options["check"]:
                return self._check(data, run_options(kind=options["kind"], preset=options["preset"], options=settings))
            more = {name: options[name] for name in ("preset", "name", "tracker")}
            run = run_create(**data, **more, options=settings)
        except Refused as error:
            raise CommandError(error.detail, returncode=2) from None
        self.stdout.write(f"Run {run.pk}, {run}, is queued. {run_waiting_reason(run=run)}".strip())
        return self._follow(run) if options["wait"] else None

    def _check(self, data: dict[str, str], options: dict[str, Any]) -> None:
        report = preflight(**data, options=options)
        for note in report.notes:
            self.stdout.write(note)
        self.stdout.write(json.dumps(report.counts, ensure_ascii=False))
        if report.problems:
            raise CommandError(" ".join(report.problems), returncode=2)

    def _follow(self, run: TrainingRun) -> None:
        printed, epochs = "", 0
        try:
            while not run.has_ended:
                run.refresh_from_db()
                for row in run.metrics[epochs:]:
                    self.stdout.write(_epoch_line(row))
                epochs = len(run.metrics)
                status = run.stage or run_waiting_reason(run=run)
                if status and status != printed:
                    self.stdout.write(status)
                printed = status
                time.sleep(0 if run.has_ended else POLL_SECONDS)
        except KeyboardInterrupt:
            raise CommandError(
                "Stopped waiting. The run continues; see its page in the admin.", returncode=130
            ) from None
        if run.state != RunState.DONE:
            raise CommandError(f"{run} {run.get_state_display().lower()}. {run.reason}".strip())
        self.stdout.write(f"{run} is done. Its encoder is a candidate now.")


def _parse_settings(words: list[str]) -> dict[str, str]:
    settings = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise Refused("bad_option", f"{word!r} is not name=value.")
        settings[name.strip().replace("-", "_")] = value
    return settings


def _epoch_line(row: dict[str, Any]) -> str:
    metrics = (f"{name} {row[name]:.4g}" for name in SHOWN_METRICS if isinstance(row.get(name), int | float))
    return f"epoch {row.get('epoch')}: {', '.join(metrics)}"
