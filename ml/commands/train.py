"""What `train-metric` and `train-classifier` have in common: arguments, and a run from its start to its encoder."""

import argparse
import json
import shlex
from pathlib import Path

from ml.commands.watchers import WATCHERS
from ml.data.manifest import read_manifest
from ml.encoder.card import Card, checked_name
from ml.formats.errors import InputError
from ml.images.pictures import accept_heic
from ml.runtime.allocator import keep_freed_pages
from ml.training.options import (
    ClassifierOptions,
    MetricOptions,
    TrainingOptions,
    add_options,
    changed_options,
    options_from,
)


def add_training_arguments(parser: argparse.ArgumentParser, kind: type[TrainingOptions]) -> None:
    """Where things are, how the run is shown, and every option of `kind`."""
    parser.add_argument("--data", type=Path, required=True, metavar="MANIFEST.csv", help="the photos")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="the encoder folder; must not exist yet")
    parser.add_argument("--run", type=Path, metavar="DIR", help="metrics, pictures, checkpoint (default: OUT.run)")
    parser.add_argument("--cache", type=Path, metavar="DIR", help="kept views, for several runs (default: RUN/cache)")
    parser.add_argument("--resume", action="store_true", help="go on where the run was interrupted")
    parser.add_argument("--tracker", choices=("none", "wandb", "tensorboard"), default="none", help="default: none")
    parser.add_argument("--progress", choices=("bar", "json", "none"), default="bar", help="json: lines for a program")
    parser.add_argument("--about-data", default="", metavar="TEXT", help="what the photos are, in words, for the card")
    parser.add_argument(
        "--pictures", action=argparse.BooleanOptionalAction, default=True, help="draw curves, sheets and strips"
    )
    add_options(parser.add_argument_group("options of the run"), kind)


def run_training(args: argparse.Namespace, kind: type[ClassifierOptions] | type[MetricOptions], command: str) -> str:
    """Train, publish, and return the last line for the person who waits."""
    options = options_from(kind, args)
    run_folder = args.run or args.out.with_name(args.out.name + ".run")
    _require_place(args.out, run_folder, args.resume)
    accept_heic()
    manifest = read_manifest(args.data)
    keep_freed_pages()  # before torch is imported
    from ml.training.run import Job, train_and_publish

    watcher = WATCHERS[args.progress]()
    job = Job(
        name=args.out.name,
        out=args.out,
        run=run_folder,
        cache=args.cache or run_folder / "cache",
        data_in_words=args.about_data,
        command=_command(args, options, command),
        tracker=args.tracker,
        pictures=args.pictures,
    )
    card = train_and_publish(manifest, options, job, watcher, watcher.progress)
    if card is None:
        return "This process has done its part."
    if args.progress == "json":
        return json.dumps({"event": "done", "encoder": card.identifier, "metrics": dict(card.metrics)})
    return f"{args.out}: {_summary(card)}."


def _require_place(out: Path, run: Path, resume: bool) -> None:
    if out.exists():
        raise InputError(f"{str(out)!r} exists already; remove it or choose another folder.")
    try:
        checked_name(out.name)
    except ValueError as error:
        raise InputError(f"The folder's name becomes the encoder's, but {error}") from error
    if (run / "checkpoint.pt").exists() and not resume:
        raise InputError(f"{str(run)!r} holds a run that was interrupted: --resume goes on with it, or remove it.")


def _command(args: argparse.Namespace, options: TrainingOptions, command: str) -> str:
    """What to type for the same encoder. Of an absolute path only the name is told: the rest says nothing to others."""
    words = ["python", "-m", "ml", command, "--data", _shown(args.data), "--out", _shown(args.out)]
    for name, value in changed_options(options).items():
        flag = name.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{flag}" if value else f"--no-{flag}")
        else:
            words += [f"--{flag}", _shown(Path(value)) if name == "start_from" else str(value)]
    return shlex.join(words + (["--about-data", args.about_data] if args.about_data else []))


def _shown(path: Path) -> str:
    return path.name if path.is_absolute() else path.as_posix()


def _summary(card: Card) -> str:
    told = {name: value for name, value in card.metrics.items() if not name.endswith(("_low", "_high"))}
    return f"{card.identifier} ({', '.join(f'{name} {value:g}' for name, value in told.items())})"
