"""`train-classifier` and `train-metric`: train a network on a manifest and write it as an encoder folder."""

import argparse
import json
import shlex
from dataclasses import dataclass
from pathlib import Path

from ml.commands.public_paths import public_path
from ml.commands.watchers import WATCHERS
from ml.data.manifest import read_manifest
from ml.encoder.card import Card
from ml.formats.encoder_folder import require_encoder_name
from ml.formats.errors import InputError
from ml.images.pictures import register_heic
from ml.runtime.allocator import keep_freed_pages
from ml.training.options import (
    ClassifierOptions,
    MetricOptions,
    TrainingOptions,
    add_options,
    changed_options,
    options_from,
)


@dataclass(frozen=True)
class TrainCommand:
    """The command `train-classifier` or `train-metric`; `options` is the class of its hyperparameters."""

    name: str
    HELP: str
    options: type[ClassifierOptions] | type[MetricOptions]

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the paths, how progress is shown, and one option per hyperparameter."""
        parser.add_argument("--data", type=Path, required=True, metavar="MANIFEST.csv", help="the photos")
        parser.add_argument(
            "--out", type=Path, required=True, metavar="DIR", help="the encoder folder; must not exist yet"
        )
        parser.add_argument("--run", type=Path, metavar="DIR", help="metrics, pictures, checkpoint (default: OUT.run)")
        parser.add_argument(
            "--cache", type=Path, metavar="DIR", help="cached views, for several runs; default: RUN/cache"
        )
        parser.add_argument("--resume", action="store_true", help="continue an interrupted run from its checkpoint")
        parser.add_argument("--tracker", choices=("none", "wandb", "tensorboard"), default="none", help="default: none")
        parser.add_argument("--progress", choices=tuple(WATCHERS), default="bar", help="json: lines for a program")
        parser.add_argument("--about-data", default="", metavar="TEXT", help="description of the photos, for the card")
        parser.add_argument(
            "--pictures", action=argparse.BooleanOptionalAction, default=True, help="draw curves, sheets and strips"
        )
        add_options(parser.add_argument_group("hyperparameters"), self.options)

    def run(self, args: argparse.Namespace) -> str:
        """Train and publish an encoder; return the last line of output."""
        options = options_from(self.options, args)
        run_folder = args.run or args.out.with_name(args.out.name + ".run")
        _require_free_output(args.out, run_folder, args.resume)
        register_heic()
        manifest = read_manifest(args.data)
        keep_freed_pages()  # before torch is imported
        from ml.training.run import Job, train_and_publish

        watcher = WATCHERS[args.progress]()
        job = Job(
            name=args.out.name,
            out=args.out,
            run=run_folder,
            cache=args.cache or run_folder / "cache",
            data_description=args.about_data,
            command=_command_line(args, options, self.name),
            tracker=args.tracker,
            pictures=args.pictures,
        )
        card = train_and_publish(manifest, options, job, watcher, watcher.progress)
        if card is None:
            return "This process has finished; the process with rank 0 writes the encoder."
        if args.progress == "json":
            return json.dumps({"event": "done", "encoder": card.identifier, "metrics": dict(card.metrics)})
        return f"{args.out}: {_summary(card)}."


CLASSIFIER = TrainCommand(
    "train-classifier",
    "Train a classifier on the photos of a manifest and write it as an encoder folder.",
    ClassifierOptions,
)
METRIC = TrainCommand(
    "train-metric",
    "Train a metric encoder on the photos of a manifest and write it as an encoder folder.",
    MetricOptions,
)


def _require_free_output(out: Path, run: Path, resume: bool) -> None:
    """Raise `InputError` for an output that exists, a name no encoder may have, or a run that needs --resume."""
    if out.exists():
        raise InputError(f"{str(out)!r} exists already; remove it or choose another folder.")
    require_encoder_name(out.name)
    if (run / "checkpoint.pt").exists() and not resume:
        raise InputError(
            f"{str(run)!r} holds an interrupted run: continue it with --resume, or remove it.", code="run_interrupted"
        )


def _command_line(args: argparse.Namespace, options: TrainingOptions, command: str) -> str:
    """Return the command line that repeats the run, for the card."""
    words = ["python", "-m", "ml", command, "--data", public_path(args.data), "--out", public_path(args.out)]
    for name, value in changed_options(options).items():
        flag = name.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{flag}" if value else f"--no-{flag}")
        else:
            words += [f"--{flag}", public_path(Path(value)) if name == "start_from" else str(value)]
    return shlex.join(words + (["--about-data", args.about_data] if args.about_data else []))


def _summary(card: Card) -> str:
    metrics = {name: value for name, value in card.metrics.items() if not name.endswith(("_low", "_high"))}
    return f"{card.identifier} ({', '.join(f'{name} {value:g}' for name, value in metrics.items())})"
