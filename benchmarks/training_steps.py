"""The two loops that `benchmarks.training` compares, and their comparisons. Imports torch; that program must not."""

import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from ml import progress
from ml.data.augment import ViewGenerator
from ml.data.manifest import Manifest, Photo
from ml.data.photos import PhotoSet
from ml.data.pixel_cache import ViewCache
from ml.reporting.run_folder import RunFolder
from ml.training.classifier import ClassifierTask
from ml.training.dataset import TrainingData
from ml.training.distributed import training_device
from ml.training.loop import Run
from ml.training.model import TrainableEncoder, build_encoder
from ml.training.options import ClassifierOptions

if TYPE_CHECKING:
    from benchmarks.training import Setting

CLASSES = ("a", "b", "c", "d")
FROZEN = 6
WARM_UP = {"cpu": 1, "cuda": 4}
"""First steps that are not counted: pages are mapped, algorithms chosen, and what is to be compiled is compiled."""

Step = Callable[[], float]
"""Does one training step and returns its loss."""


def now() -> float:
    """Seconds on a clock that waits until the GPU, too, has done what it was told."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def timed(step: Step) -> tuple[float, float]:
    """Return the seconds of a step and its loss."""
    started = now()
    loss = step()
    return now() - started, loss


def speeds(setting: "Setting", *, few: bool = False) -> dict[str, object]:
    """Return each comparison by its name; `few`: only the two that any machine should make."""
    torch.set_num_threads(setting.threads)
    device = training_device().type
    found: dict[str, object] = {"device": torch.cuda.get_device_name() if device == "cuda" else device}
    all_trained, some_frozen = options_of(setting), options_of(setting, freeze_stages=FROZEN)
    found["all stages trained, from pictures"] = ours_against(PlainLoop(all_trained), all_trained, setting)
    found[f"first {FROZEN} stages frozen, kept as maps"] = ours_against(PlainLoop(some_frozen), some_frozen, setting)
    if few:
        return found
    if device == "cuda":
        for name, changes in (("float32", {"precision": "float32"}), ("compiled", {"compile": True})):
            options = options_of(setting, **changes)
            found[f"all stages trained, {name}"] = ours_against(PlainLoop(all_trained), options, setting)
    else:
        options = options_of(setting, precision="bfloat16")
        found["all stages trained, bfloat16"] = ours_against(PlainLoop(all_trained), options, setting)
    found["plain loop, channels_last"] = against(PlainLoop(all_trained, channels_last=True), all_trained, setting)
    found["plain loop, bfloat16"] = against(PlainLoop(all_trained, bfloat16=True), all_trained, setting)
    if device == "cuda":
        found["plain loop, compiled"] = against(PlainLoop(all_trained, compiled=True), all_trained, setting)
    return found


def options_of(setting: "Setting", **changes: object) -> ClassifierOptions:
    """One epoch with as many batches as are timed; EfficientNet-Lites start from their weights, which are at hand."""
    given: dict[str, object] = {
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
    return ClassifierOptions(**given | changes)  # type: ignore[arg-type] # checked when made


class PlainLoop:
    """A training step as one would write it first, on one batch that is used again and again."""

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
        pictures = torch.from_numpy(noise(options.batch_size, options.side)[:, 0]).permute(0, 3, 1, 2).to(device)
        self.pictures = ((pictures - encoder.mean) / encoder.std).contiguous(memory_format=form)
        self.labels = torch.from_numpy(labels_of(options.batch_size)).to(device)
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
    """Watches a run: after each of its steps it lets the rival take one, and keeps the times and losses of both."""

    rival: Step
    ours: list[float] = field(default_factory=list)
    theirs: list[float] = field(default_factory=list)
    losses: list[tuple[float, float]] = field(default_factory=list)
    _resumed: float = field(default_factory=now)

    def stage(self, what: str) -> None:
        """Is not timed."""

    def step(self, step: progress.Step) -> None:
        self.ours.append(now() - self._resumed)
        taken, rivals_loss = timed(self.rival)
        self.theirs.append(taken)
        self.losses.append((step.loss, rivals_loss))
        self._resumed = now()

    def epoch(self, row: Mapping[str, float]) -> None:
        """Is not timed."""


def ours_against(rival: Step, options: ClassifierOptions, setting: "Setting") -> dict[str, float]:
    """Compare a run with these options to `rival`."""
    watcher = alternated(rival, options, setting.steps + WARM_UP[training_device().type])
    return compared(watcher.ours, watcher.theirs, setting)


def alternated(rival: Step, options: ClassifierOptions, steps: int) -> Alternating:
    """Train for so many steps, the rival after each, and return what was seen."""
    encoder = build_encoder(options, len(CLASSES))
    data = data_of(encoder, options, steps * options.batch_size)
    with tempfile.TemporaryDirectory() as folder:
        run = Run(ClassifierTask(data, options), encoder, data, options, RunFolder(Path(folder)), {})
        watcher = Alternating(rival)
        run.train(watcher)
    return watcher


def against(other: Step, options: ClassifierOptions, setting: "Setting") -> dict[str, float]:
    """Compare another plain loop to the plain one."""
    plain = PlainLoop(options)
    steps = range(setting.steps + WARM_UP[training_device().type])
    times = [(timed(other)[0], timed(plain)[0]) for _ in steps]
    return compared([first for first, _ in times], [second for _, second in times], setting)


def compared(first: list[float], plain: list[float], setting: "Setting") -> dict[str, float]:
    """Photos per second of both, from the seconds of their steps."""
    ours, theirs = (
        setting.batch_size / statistics.median(times[WARM_UP[training_device().type] :]) for times in (first, plain)
    )
    return {"photos_per_second": round(ours, 2), "plain": round(theirs, 2), "ratio": round(ours / theirs, 2)}


def data_of(encoder: TrainableEncoder, options: ClassifierOptions, photos: int) -> TrainingData:
    """Noise in the place of kept views, as pictures or as maps; as many different ones as there are in a batch."""
    kept: np.ndarray = noise(options.batch_size, options.side)
    if options.freeze_stages:
        encoder.eval()
        with torch.inference_mode():
            maps = encoder.run_frozen_stages(torch.from_numpy(kept[:, 0]).permute(0, 3, 1, 2))
        kept = maps.permute(0, 2, 3, 1).numpy().astype(np.float16)[:, None]
    store = ViewCache(kept[np.arange(photos) % len(kept)])
    held_out = ViewCache(np.repeat(kept[:2], 2, axis=1))
    viewer = ViewGenerator([], encoder.preprocess, "none", options.seed)
    return TrainingData(photos_of(photos), photos_of(2), viewer, store, held_out, options)


def photos_of(count: int) -> PhotoSet:
    """Photos that nobody opens."""
    names = tuple(f"{number}.jpg" for number in range(count))
    photos = tuple(Photo(name, CLASSES[at % len(CLASSES)], name, "train") for at, name in enumerate(names))
    return PhotoSet(Manifest(Path(), photos), photos, CLASSES, labels_of(count), np.arange(count), names)


def labels_of(count: int) -> np.ndarray:
    return np.arange(count) % len(CLASSES)


def noise(count: int, side: int) -> np.ndarray:
    """One view of each picture, uint8 (count, 1, side, side, 3); always the same."""
    return np.random.default_rng(0).integers(0, 256, (count, 1, side, side, 3), dtype=np.uint8)
