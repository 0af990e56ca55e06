"""Training run from start to end: load the data, build the network, train, draw pictures, publish the encoder."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

import torch

from ml.data.manifest import Manifest, data_hash
from ml.data.photos import relabel, select_training_photos
from ml.encoder.card import Card
from ml.progress import Progress, Step, silent
from ml.reporting.curves import draw_curves
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
from ml.training.publish import CardText, publish_classifier, publish_metric
from ml.training.run_pictures import draw_classifier_pictures, draw_metric_pictures
from ml.training.task import Task


@dataclass(frozen=True)
class Job:
    """The paths of a run and the texts for its encoder's card. `out`: the encoder folder, which must not exist yet."""

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
    """Train as `options` say, from the checkpoint in `job.run` if there is one, and write the encoder.

    Returns its card; None in a distributed process whose rank is not 0. Raises `InputError`.
    """
    torch.set_num_threads(options.threads)
    with process_group():
        manifest = relabel(manifest, options.label_column)
        train, held_out = select_training_photos(manifest, options.splits, options.held_out)
        _require_batch_size(min(options.batch_size, len(train)))
        fingerprint = {"options": asdict(options), "data": data_hash(manifest, train.photos + held_out.photos)}
        if (job.run / CHECKPOINT_FILE).exists():
            load_checkpoint(job.run / CHECKPOINT_FILE, fingerprint)  # before views of another run are overwritten
        encoder = build_encoder(options, len(train.classes)).to(training_device())
        data = load_data(train, held_out, encoder, options, job.cache, progress if rank() == 0 else silent)
        parts = _build_parts(data, options, job, progress)
        folder = RunFolder(job.run)
        run = Run(parts.task, encoder, data, options, folder, fingerprint)
        run.resume()
        reporter = _Reporter(run, parts, job, watcher) if rank() == 0 else watcher
        best = run.train(reporter)
        if rank() != 0:
            return None
        watcher.stage("measuring and writing the encoder")
        return parts.publish(best.cpu())


def _require_batch_size(batch: int) -> None:
    """Raise `OptionsError` if a process could get an empty batch: the last one of an epoch may be half as large."""
    processes, needed = world_size(), 2 * world_size()
    if batch < needed:
        message = f"A batch of {batch} photos is too small for {processes} processes; they need {needed}."
        raise OptionsError(message, code="batch_too_small")


@dataclass(frozen=True)
class RunParts:
    """The parts that differ between a classifier and a metric run. `draw(encoder, last)` returns the picture files."""

    task: Task
    draw: Callable[[TrainableEncoder, bool], list[Path]]
    publish: Callable[[TrainableEncoder], Card]


def _build_parts(
    data: TrainingData, options: ClassifierOptions | MetricOptions, job: Job, progress: Progress
) -> RunParts:
    text = CardText(job.name, job.data_description, job.command)
    if isinstance(options, MetricOptions):
        metric = MetricTask(data, options)
        return RunParts(
            metric,
            lambda encoder, last: draw_metric_pictures(metric, encoder, data, job.run, last=last),
            lambda encoder: publish_metric(encoder, metric, data, text, job.out, progress),
        )
    classifier = ClassifierTask(data, options)
    return RunParts(
        classifier,
        lambda encoder, _: draw_classifier_pictures(classifier, encoder, data, job.run),
        lambda encoder: publish_classifier(encoder, data, text, job.out, progress),
    )


class _Reporter:
    """A watcher that forwards to `watcher`, draws the pictures of each epoch and logs to the tracker."""

    def __init__(self, run: Run, parts: RunParts, job: Job, watcher: Watcher) -> None:
        self._run, self._parts, self._job, self._watcher = run, parts, job, watcher
        self._tracker: Tracker = open_tracker(job.tracker, job.run, job.name, run.fingerprint["options"])

    def stage(self, name: str) -> None:
        self._watcher.stage(name)

    def step(self, step: Step) -> None:
        self._watcher.step(step)

    def epoch(self, row: Mapping[str, float]) -> None:
        epoch = int(row["epoch"])
        self._tracker.log(epoch, {name: value for name, value in row.items() if name != "epoch"})
        last = self._run.is_finished
        if self._job.pictures:
            rows = cast("list[dict[str, float]]", self._run.folder.rows())
            for path in draw_curves(rows, self._job.run) + self._parts.draw(self._run.average.network, last):
                self._tracker.picture(epoch, path.stem, path)
        if last:
            self._tracker.finish()
        self._watcher.epoch(row)
