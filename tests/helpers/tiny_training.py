"""Training runs small enough for a test: 54 tiny pictures, two epochs, no pictures of the run unless asked for."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ml.data.manifest import Manifest, data_hash
from ml.data.photos import select_training_photos
from ml.encoder.card import Card
from ml.progress import Step
from ml.reporting.run_folder import RunFolder
from ml.training.classifier import ClassifierTask
from ml.training.dataset import TrainingData, load_data
from ml.training.loop import Run
from ml.training.metric import MetricTask
from ml.training.model import build_encoder
from ml.training.options import ClassifierOptions, MetricOptions
from ml.training.run import Job, train_and_publish

TINY = {"side": 64, "freeze_stages": 4, "epochs": 2, "views": 2, "batch_size": 12, "threads": 1}
METRIC_ONLY = {"embedding_size": 24, "label_size": 8, "per_label": 2}

Options = ClassifierOptions | MetricOptions


class RecordingWatcher:
    """A watcher that records its calls."""

    def __init__(self) -> None:
        self.stages: list[str] = []
        self.steps: list[tuple[int, int, int]] = []
        self.losses: list[float] = []
        self.rows: list[Mapping[str, float]] = []

    def stage(self, what: str) -> None:
        self.stages.append(what)

    def step(self, step: Step) -> None:
        assert step.photos_per_second > 0
        self.steps.append((step.epoch, step.step, step.steps))
        self.losses.append(step.loss)

    def epoch(self, row: Mapping[str, float]) -> None:
        self.rows.append(row)


def metric_options(**changes: Any) -> MetricOptions:
    return MetricOptions(**TINY | METRIC_ONLY | changes)


def classifier_options(**changes: Any) -> ClassifierOptions:
    return ClassifierOptions(**TINY | changes)


def load_run_data(manifest: Manifest, options: Options, cache: Path) -> TrainingData:
    """Load the photos and views of a run with these options."""
    train, held_out = select_training_photos(manifest, options.splits, options.held_out)
    return load_data(train, held_out, build_encoder(options, len(train.classes)), options, cache)


def prepare_run(manifest: Manifest, options: Options, folder: Path, cache: Path | None = None) -> Run:
    """Build a run that is ready to train, restored from its checkpoint if it has one."""
    train, held_out = select_training_photos(manifest, options.splits, options.held_out)
    encoder = build_encoder(options, len(train.classes))
    data = load_data(train, held_out, encoder, options, cache or folder / "cache")
    task = MetricTask(data, options) if isinstance(options, MetricOptions) else ClassifierTask(data, options)
    about = {"options": asdict(options), "data": data_hash(manifest, train.photos + held_out.photos)}
    run = Run(task, encoder, data, options, RunFolder(folder), about)
    run.resume()
    return run


def make_job(folder: Path, name: str = "tiny", **changes: Any) -> Job:
    """Return the job of a run whose paths are all in `folder`."""
    places = {"out": folder / name, "run": folder / f"{name}.run", "cache": folder / "cache"}
    return Job(
        **{
            "name": name,
            "data_description": "drawn garments",
            "command": "typed",
            "pictures": False,
            **places,
            **changes,
        }
    )


@dataclass(frozen=True)
class FinishedRun:
    """A successful run: its encoder folder, run folder and card, and the watcher that recorded it."""

    out: Path
    run: Path
    card: Card
    watcher: RecordingWatcher


def finish_run(manifest: Manifest, options: Options, folder: Path, **changes: Any) -> FinishedRun:
    """Train and publish an encoder in `folder`."""
    place, watcher = make_job(folder, **changes), RecordingWatcher()
    card = train_and_publish(manifest, options, place, watcher)
    assert card is not None
    return FinishedRun(place.out, place.run, card, watcher)
