"""Training loops that `benchmarks.training` compares. Imports torch, which `benchmarks.training` must not."""

import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import nn

from benchmarks.training_setting import Setting
from ml import progress
from ml.data.augment import ViewGenerator
from ml.data.manifest import Manifest, Photo
from ml.data.photos import PhotoSet
from ml.data.view_cache import ViewCache
from ml.reporting.run_folder import RunFolder
from ml.training.classifier import ClassifierTask
from ml.training.dataset import TrainingData
from ml.training.distributed import training_device
from ml.training.loop import Run
from ml.training.model import TrainableEncoder, build_encoder
from ml.training.options import ClassifierOptions

CLASSES = ("a", "b", "c", "d")
FROZEN = 6
WARM_UP = {"cpu": 1, "cuda": 4}
"""First steps that are not timed: memory is mapped, algorithms are chosen, code is compiled."""

Step = Callable[[], float]
"""Takes one training step and returns its loss."""


def now() -> float:
    """Read a clock in seconds, after the GPU has finished its work."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def time_step(step: Step) -> tuple[float, float]:
    """Take a step; return its seconds and its loss."""
    started = now()
    loss = step()
    return now() - started, loss


def measure_speeds(setting: Setting, *, few: bool = False) -> dict[str, object]:
    """Return each comparison by name; `few`: only the two that are useful on every machine."""
    torch.set_num_threads(setting.threads)
    device = training_device().type
    speeds: dict[str, object] = {"device": torch.cuda.get_device_name() if device == "cuda" else device}
    all_trained, some_frozen = build_options(setting), build_options(setting, freeze_stages=FROZEN)
    speeds["all stages trained, from pictures"] = compare_run(PlainLoop(all_trained), all_trained, setting)
    speeds[f"first {FROZEN} stages frozen, kept as maps"] = compare_run(PlainLoop(some_frozen), some_frozen, setting)
    if few:
        return speeds
    if device == "cuda":
        for name, changes in (("float32", {"precision": "float32"}), ("compiled", {"compile": True})):
            options = build_options(setting, **changes)
            speeds[f"all stages trained, {name}"] = compare_run(PlainLoop(all_trained), options, setting)
    else:
        options = build_options(setting, precision="bfloat16")
        speeds["all stages trained, bfloat16"] = compare_run(PlainLoop(all_trained), options, setting)
    speeds["plain loop, channels_last"] = compare_plain(
        PlainLoop(all_trained, channels_last=True), all_trained, setting
    )
    speeds["plain loop, bfloat16"] = compare_plain(PlainLoop(all_trained, bfloat16=True), all_trained, setting)
    if device == "cuda":
        speeds["plain loop, compiled"] = compare_plain(PlainLoop(all_trained, compiled=True), all_trained, setting)
    return speeds


def build_options(setting: Setting, **changes: object) -> ClassifierOptions:
    """Return the options of one epoch. EfficientNet-Lites start from their weights, which are installed as packages."""
    options: dict[str, object] = {
        "backbone": setting.backbone,
        "pretrained": setting.backbone.startswith("efficientnet-lite"),
        "side": setting.side,
        "batch_size": setting.batch_size,
        "threads": setting.threads,
        "views": 1,
        "epochs": 1,
        "augment": "none",
        "balance": "none",
        "drop": 0.0,
        "lr": 0.0,
        "head_lr": 0.0,
    }
    return ClassifierOptions(**options | changes)  # type: ignore[arg-type] # checked at construction


class PlainLoop:
    """A plain PyTorch training step on one batch that is used again in each step."""

    def __init__(
        self,
        options: ClassifierOptions,
        *,
        channels_last: bool = False,
        bfloat16: bool = False,
        compiled: bool = False,
    ) -> None:
        device = training_device()
        encoder = build_encoder(options, len(CLASSES)).to(device)
        encoder.set_training(head_only=False)
        form = torch.channels_last if channels_last else torch.contiguous_format
        self.network: nn.Module = encoder.network.to(memory_format=form)  # type: ignore[call-overload]
        pictures = torch.from_numpy(random_views(options.batch_size, options.side)[:, 0]).permute(0, 3, 1, 2).to(device)
        self.pictures = ((pictures - encoder.mean) / encoder.std).contiguous(memory_format=form)
        self.labels = torch.from_numpy(cyclic_labels(options.batch_size)).to(device)
        self.loss = nn.CrossEntropyLoss(label_smoothing=options.smoothing)
        self.optimizer = torch.optim.AdamW(
            [weight for weight in self.network.parameters() if weight.requires_grad], lr=options.lr
        )
        self._precision = torch.autocast(device.type, torch.bfloat16, enabled=bfloat16)
        if compiled:
            self.network.compile()

    def __call__(self) -> float:
        self.optimizer.zero_grad()
        with self._precision:
            loss = self.loss(self.network(self.pictures), self.labels)
        loss.backward()
        self.optimizer.step()
        return float(loss.item())


@dataclass
class Alternating:
    """Watcher of a run: after each step of the run the rival takes a step. Records the times and losses of both."""

    rival: Step
    ours: list[float] = field(default_factory=list)
    theirs: list[float] = field(default_factory=list)
    losses: list[tuple[float, float]] = field(default_factory=list)
    _resumed: float = field(default_factory=now)

    def stage(self, what: str) -> None:
        """Do nothing: stages are not timed."""

    def step(self, step: progress.Step) -> None:
        """Time this step of the run and one step of the rival."""
        self.ours.append(now() - self._resumed)
        seconds, rival_loss = time_step(self.rival)
        self.theirs.append(seconds)
        self.losses.append((step.loss, rival_loss))
        self._resumed = now()

    def epoch(self, row: Mapping[str, float]) -> None:
        """Do nothing: stages are not timed."""


def compare_run(rival: Step, options: ClassifierOptions, setting: Setting) -> dict[str, float]:
    """Compare the speed of a run with these options with that of `rival`."""
    watcher = alternate(rival, options, setting.steps + WARM_UP[training_device().type])
    return compare(watcher.ours, watcher.theirs, setting)


def alternate(rival: Step, options: ClassifierOptions, steps: int) -> Alternating:
    """Train for `steps` steps, with a step of the rival after each; return the times and losses."""
    encoder = build_encoder(options, len(CLASSES))
    data = build_data(encoder, options, steps * options.batch_size)
    with tempfile.TemporaryDirectory() as folder:
        run = Run(ClassifierTask(data, options), encoder, data, options, RunFolder(Path(folder)), {})
        watcher = Alternating(rival)
        run.train(watcher)
    return watcher


def compare_plain(other: Step, options: ClassifierOptions, setting: Setting) -> dict[str, float]:
    """Compare the speed of another plain loop with that of the plain one."""
    plain = PlainLoop(options)
    steps = range(setting.steps + WARM_UP[training_device().type])
    times = [(time_step(other)[0], time_step(plain)[0]) for _ in steps]
    return compare([first for first, _ in times], [second for _, second in times], setting)


def compare(first: list[float], plain: list[float], setting: Setting) -> dict[str, float]:
    """Return the photos per second of both loops, from the seconds of their steps without warm-up."""
    ours, theirs = (
        setting.batch_size / statistics.median(times[WARM_UP[training_device().type] :]) for times in (first, plain)
    )
    return {"photos_per_second": round(ours, 2), "plain": round(theirs, 2), "ratio": round(ours / theirs, 2)}


def build_data(encoder: TrainableEncoder, options: ClassifierOptions, photos: int) -> TrainingData:
    """Return noise as cached views, pictures or feature maps; as many different views as a batch has."""
    views: np.ndarray = random_views(options.batch_size, options.side)
    if options.freeze_stages:
        encoder.eval()
        with torch.inference_mode():
            maps = encoder.run_frozen_stages(torch.from_numpy(views[:, 0]).permute(0, 3, 1, 2))
        views = maps.permute(0, 2, 3, 1).numpy().astype(np.float16)[:, None]
    store = ViewCache(views[np.arange(photos) % len(views)])
    held_out = ViewCache(np.repeat(views[:2], 2, axis=1))
    view_generator = ViewGenerator([], encoder.preprocess, "none", options.seed)
    return TrainingData(build_photos(photos), build_photos(2), view_generator, store, held_out, options)


def build_photos(count: int) -> PhotoSet:
    """Return photos whose files do not exist and are never opened."""
    names = tuple(f"{number}.jpg" for number in range(count))
    photos = tuple(Photo(name, CLASSES[at % len(CLASSES)], name, "train") for at, name in enumerate(names))
    return PhotoSet(Manifest(Path(), photos), photos, CLASSES, cyclic_labels(count), np.arange(count), names)


def cyclic_labels(count: int) -> np.ndarray:
    """Return label numbers (count) that repeat 0, 1, 2, 3."""
    return np.arange(count) % len(CLASSES)


def random_views(count: int, side: int) -> np.ndarray:
    """Return one view of each picture, uint8 (count, 1, side, side, 3), from a fixed seed."""
    return np.random.default_rng(0).integers(0, 256, (count, 1, side, side, 3), dtype=np.uint8)
