"""A whole run: data, network, training, pictures, encoder."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

import torch

from ml.data.manifest import Manifest, data_hash
from ml.data.photos import labelled_by, training_photos
from ml.encoder.card import Card
from ml.progress import Progress, Step, silent
from ml.reporting.run_folder import RunFolder
from ml.reporting.trackers import Tracker, TrackerName, open_tracker
from ml.training.checkpoints import load_checkpoint
from ml.training.classifier import ClassifierTask
from ml.training.dataset import TrainingData, load_data
from ml.training.distributed import process_group, rank, training_device, world_size
from ml.training.loop import CHECKPOINT_FILE, Run, Watcher
from ml.training.metric import MetricTask
from ml.training.model import TrainableEncoder, build_encoder
from ml.training.options import ClassifierOptions, MetricOptions, OptionsError
from ml.training.publish import About, publish_classifier, publish_metric
from ml.training.run_pictures import show_classifier, show_curves, show_metric
from ml.training.task import Task


@dataclass(frozen=True)
class Job:
    """Where a run reads and writes, and what its encoder's card will say. `out`: the encoder folder, not yet there."""

    name: str
    out: Path
    run: Path
    cache: Path
    data_description: str
    command: str
    tracker: TrackerName = "none"
    pictures: bool = True


def train_and_publish(
    manifest: Manifest,
    options: ClassifierOptions | MetricOptions,
    job: Job,
    watcher: Watcher,
    progress: Progress = silent,
) -> Card | None:
    """Train as `options` say, going on from the checkpoint in `job.run` if there is one, and write the encoder.

    Returns its card; None in the processes of a distributed run that are not the first. Raises `InputError`.
    """
    torch.set_num_threads(options.threads)
    with process_group():
        manifest = labelled_by(manifest, options.label_column)
        train, held_out = training_photos(manifest, options.splits, options.held_out)
        _require_shares(min(options.batch_size, len(train)))
        about = {"options": asdict(options), "data": data_hash(manifest, train.photos + held_out.photos)}
        if (job.run / CHECKPOINT_FILE).exists():
            load_checkpoint(job.run / CHECKPOINT_FILE, about)  # before views are made that the real run has no use for
        encoder = build_encoder(options, len(train.classes)).to(training_device())
        data = load_data(train, held_out, encoder, options, job.cache, progress if rank() == 0 else silent)
        kind = _kind(data, options, job, progress)
        folder = RunFolder(job.run)
        run = Run(kind.task, encoder, data, options, folder, about)
        run.resume()
        shown = _Shown(run, kind, job, watcher) if rank() == 0 else watcher
        best = run.go(shown)
        if rank() != 0:
            return None
        watcher.stage("measuring and writing the encoder")
        return kind.publish(best.cpu())


def _require_shares(batch: int) -> None:
    """For a batch of which some process would get nothing: the last one of an epoch may be half as large."""
    if batch < 2 * world_size():
        raise OptionsError(
            f"A batch of {batch} photos is too small for {world_size()} processes; they need {2 * world_size()}."
        )


@dataclass(frozen=True)
class Kind:
    """What differs between the two kinds of run. `show(encoder, last)` draws and names the files."""

    task: Task
    show: Callable[[TrainableEncoder, bool], list[Path]]
    publish: Callable[[TrainableEncoder], Card]


def _kind(data: TrainingData, options: ClassifierOptions | MetricOptions, job: Job, progress: Progress) -> Kind:
    about = About(job.name, job.data_description, job.command)
    if isinstance(options, MetricOptions):
        metric = MetricTask(data, options)
        return Kind(
            metric,
            lambda encoder, last: show_metric(metric, encoder, data, job.run, last=last),
            lambda encoder: publish_metric(encoder, metric, data, about, job.out, progress),
        )
    classifier = ClassifierTask(data, options)
    return Kind(
        classifier,
        lambda encoder, _: show_classifier(classifier, encoder, data, job.run),
        lambda encoder: publish_classifier(encoder, data, about, job.out, progress),
    )


class _Shown:
    """Hands on to `watcher`, draws the pictures of each epoch and tells the tracker."""

    def __init__(self, run: Run, kind: Kind, job: Job, watcher: Watcher) -> None:
        self._run, self._kind, self._job, self._watcher = run, kind, job, watcher
        self._tracker: Tracker = open_tracker(job.tracker, job.run, job.name, run.about["options"])

    def stage(self, what: str) -> None:
        self._watcher.stage(what)

    def step(self, step: Step) -> None:
        self._watcher.step(step)

    def epoch(self, row: Mapping[str, float]) -> None:
        epoch = int(row["epoch"])
        self._tracker.log(epoch, {name: value for name, value in row.items() if name != "epoch"})
        last = self._run.ending
        if self._job.pictures:
            rows = cast("list[dict[str, float]]", self._run.folder.rows())
            for path in show_curves(rows, self._job.run) + self._kind.show(self._run.average.network, last):
                self._tracker.picture(epoch, path.stem, path)
        if last:
            self._tracker.finish()
        self._watcher.epoch(row)
