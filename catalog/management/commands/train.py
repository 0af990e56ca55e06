"""manage.py train: start a training run, and follow it if asked to."""

import json
import time
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from catalog.errors import Refused
from catalog.models import RunKind, RunSource, RunState, RunTracker, TrainingRun
from catalog.services.training.options import QUICK
from catalog.services.training.preflight import preflight
from catalog.services.training.runs import run_create, run_options
from catalog.services.training.waiting import run_waiting_reason

LOOK_AGAIN = 1.0  # seconds
SHOWN = ("train_loss", "val_loss", "recall_at_1", "map_at_r", "garment_at_1", "val_accuracy")


class Command(BaseCommand):
    help = "Start a training run; a train worker makes it. What is wrong with it is said before anything starts."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("kind", choices=RunKind.values)
        parser.add_argument("--preset", default=QUICK, help="quick, for a CPU, or full; default: quick")
        parser.add_argument("--source", choices=RunSource.values, default=RunSource.CATALOGUE)
        parser.add_argument("--manifest", default="", help="A CSV below the folder for training data.")
        parser.add_argument("--set", nargs="+", default=[], metavar="NAME=VALUE", help="See python -m ml options KIND.")
        parser.add_argument("--name", default="", help="Also that of its encoder; made from kind and date by itself.")
        parser.add_argument("--tracker", choices=RunTracker.values, default=RunTracker.NONE)
        parser.add_argument("--check", action="store_true", help="Only say what would become of it.")
        parser.add_argument("--wait", action="store_true", help="Stay until it has ended, and tell how it goes.")

    def handle(self, *args: Any, **options: Any) -> None:
        asked = {name: options[name] for name in ("kind", "source", "manifest")}
        try:
            settings = _settings(options["set"])
            if options["check"]:
                return self._check(asked, run_options(kind=options["kind"], preset=options["preset"], options=settings))
            more = {name: options[name] for name in ("preset", "name", "tracker")}
            run = run_create(**asked, **more, options=settings)
        except Refused as error:
            raise CommandError(error.detail, returncode=2) from None
        self.stdout.write(f"Run {run.pk}, {run}, is queued. {run_waiting_reason(run=run)}".strip())
        return self._follow(run) if options["wait"] else None

    def _check(self, asked: dict[str, str], options: dict[str, Any]) -> None:
        found = preflight(**asked, options=options)
        for note in found.notes:
            self.stdout.write(note)
        self.stdout.write(json.dumps(found.counts, ensure_ascii=False))
        if found.problems:
            raise CommandError(" ".join(found.problems), returncode=2)

    def _follow(self, run: TrainingRun) -> None:
        told, epochs = "", 0
        try:
            while not run.has_ended:
                run.refresh_from_db()
                for row in run.metrics[epochs:]:
                    self.stdout.write(_epoch(row))
                epochs = len(run.metrics)
                now = run.stage or run_waiting_reason(run=run)
                if now and now != told:
                    self.stdout.write(now)
                told = now
                time.sleep(0 if run.has_ended else LOOK_AGAIN)
        except KeyboardInterrupt:
            raise CommandError("The run goes on without you: it is in the admin.", returncode=130) from None
        if run.state != RunState.DONE:
            raise CommandError(f"{run} {run.get_state_display().lower()}. {run.reason}".strip())
        self.stdout.write(f"{run} is done: it is a candidate among the encoders.")


def _settings(words: list[str]) -> dict[str, str]:
    settings = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise Refused("bad_option", f"{word!r} is not name=value.")
        settings[name.strip().replace("-", "_")] = value
    return settings


def _epoch(row: dict[str, Any]) -> str:
    figures = (f"{name} {row[name]:.4g}" for name in SHOWN if isinstance(row.get(name), int | float))
    return f"epoch {row.get('epoch')}: {', '.join(figures)}"
