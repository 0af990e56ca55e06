"""Training loop: epochs, checkpoints, choice of the best epoch, early stopping; the same for both tasks."""

import hashlib
import math
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

import numpy as np
import torch

from ml.data.sampling import epoch_batches
from ml.progress import Step
from ml.reporting.run_folder import RunFolder
from ml.training.checkpoints import load_checkpoint, save_checkpoint
from ml.training.dataset import TrainingData
from ml.training.distributed import (
    all_reduce_gradients,
    barrier,
    broadcast_from_first,
    rank,
    training_device,
    world_size,
)
from ml.training.model import TrainableEncoder
from ml.training.optimizer import MovingAverage, build_optimizer, penalty, set_rates
from ml.training.options import TrainingOptions
from ml.training.task import RunningMeans, Task, TrainingFailed

CHECKPOINT_FILE = "checkpoint.pt"
BEST_FILE = "best.pt"

COLLAPSED_SPREAD = 0.01
"""Vectors whose spread is below this have collapsed: the mean cosine of all pairs is above 0.99."""


class Watcher(Protocol):
    """Receives the progress of a run: a progress bar, or JSON lines for another program."""

    def stage(self, name: str) -> None:
        """Handle the start of a stage; `name` describes the stage in a few words."""

    def step(self, step: Step) -> None:
        """Handle the end of a batch."""

    def epoch(self, row: Mapping[str, float]) -> None:
        """Handle the end of an epoch; `row` is the line of the epoch in metrics.jsonl."""


class TimeEstimator:
    """Estimates the remaining time (ETA) of a run.

    An epoch takes its steps, at the mean pace of all steps so far, and validation and pictures, at the mean of the
    epochs before. In the first epoch the latter are unknown and count as 0.
    """

    def __init__(self, epochs: int, now: Callable[[], float] = time.monotonic) -> None:
        self._epochs, self._now = epochs, now
        self._epoch, self._step, self._steps = 0, 0, 0
        self._epoch_start, self._last_step = 0.0, 0.0  # times of the epoch's start and of its latest step
        self._step_seconds, self._steps_done = 0.0, 0  # of the finished epochs
        self._validation_seconds, self._epochs_done = 0.0, 0

    def start_epoch(self, epoch: int) -> None:
        """Record the start of `epoch`, and the end of the epoch before with its validation and pictures."""
        now = self._now()
        if self._step:
            self._step_seconds += self._last_step - self._epoch_start
            self._steps_done += self._step
            self._validation_seconds += now - self._last_step
            self._epochs_done += 1
        self._epoch, self._step, self._epoch_start = epoch, 0, now

    def finish_step(self, step: int, steps: int) -> None:
        """Record that step `step` of the epoch's `steps` has ended."""
        self._step, self._steps, self._last_step = step, steps, self._now()

    def seconds_left(self) -> float | None:
        """Return the seconds until the end of the run; None before the first step."""
        if not self._step:
            return None
        pace = (self._step_seconds + self._last_step - self._epoch_start) / (self._steps_done + self._step)
        validation = self._validation_seconds / max(self._epochs_done, 1)
        epochs_to_come = self._epochs - self._epoch
        steps = self._steps - self._step + epochs_to_come * self._steps
        return steps * pace + (epochs_to_come + 1) * validation


class Run:
    """One training run: `train` runs until the last epoch, or until `patience` ends, and returns the best network.

    `fingerprint` holds the options and the data hash, which must be the same when the run is resumed.
    """

    def __init__(
        self,
        task: Task,
        encoder: TrainableEncoder,
        data: TrainingData,
        options: TrainingOptions,
        folder: RunFolder,
        fingerprint: Mapping[str, Any],
    ) -> None:
        self.task, self.data, self.options, self.folder, self.fingerprint = task, data, options, folder, fingerprint
        device = training_device()
        self.encoder: TrainableEncoder = encoder.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.task.loss.to(device)
        self.encoder.set_training(head_only=False)
        self.optimizer = build_optimizer(self.encoder, task.loss, options)
        self.average: MovingAverage[TrainableEncoder] = MovingAverage(self.encoder, options.ema)
        self.epochs_done, self.best, self.best_epoch = 0, -math.inf, 0
        if options.compile:
            self.encoder.compile_parts()

    def resume(self) -> None:
        """Restore the state at the end of the last whole epoch, if there is one. Raises `CheckpointError`."""
        path = self.folder.path / CHECKPOINT_FILE
        if path.exists():
            state = load_checkpoint(path, self.fingerprint)
            self.encoder.load_state_dict(state["body"])
            self.task.loss.load_state_dict(state["loss"])
            self.optimizer.load_state_dict(state["optimizer"])
            if self.options.ema:
                self.average.network.load_state_dict(state["average"])
            self.average.steps = state["steps"]
            self.epochs_done, self.best, self.best_epoch = state["epoch"], state["best"], state["best_epoch"]
        if rank() == 0:
            self.folder.keep_until(self.epochs_done)

    @property
    def is_finished(self) -> bool:
        """Whether all epochs are trained, or `patience` epochs have passed without a better score."""
        out_of_patience = bool(self.options.patience) and self.epochs_done - self.best_epoch >= self.options.patience
        return out_of_patience or self.epochs_done >= self.options.epochs

    def train(self, watcher: Watcher) -> TrainableEncoder:
        """Train the remaining epochs and return the network of the best one. Raises `TrainingFailed`."""
        time_estimator = TimeEstimator(self.options.epochs)
        if rank() == 0 and not self.is_finished:
            watcher.stage("training")
        while not self.is_finished:
            started = time.monotonic()
            epoch = self.epochs_done + 1
            row: dict[str, float] = {"epoch": epoch}
            time_estimator.start_epoch(epoch)
            row |= self._train_epoch(epoch, watcher, time_estimator)
            if rank() == 0:
                row |= self.task.validate(self.average.network)
            self._keep_best(epoch, row)
            self.epochs_done = epoch
            if rank() == 0:
                row["seconds"] = round(time.monotonic() - started, 3)
                self.folder.append(row)  # first: resuming drops a surplus row; a missing one is lost
                self._save()
                watcher.epoch(row)
        barrier()  # rank 0 alone writes the file that all processes now read
        return self.best_encoder()

    def best_encoder(self) -> TrainableEncoder:
        """Return the network of the best epoch, in evaluation mode."""
        state = load_checkpoint(self.folder.path / BEST_FILE, {})
        self.average.network.load_state_dict(state["body"])
        self.average.network.eval()
        return self.average.network

    def _train_epoch(self, epoch: int, watcher: Watcher, time_estimator: TimeEstimator) -> dict[str, float]:
        options = self.options
        torch.manual_seed(_derive_seed(options.seed, epoch, rank()))
        batches = epoch_batches(
            self.data.train.labels, options.batch_size, self.task.per_label, options.balance, options.seed, epoch
        )
        running_means, started, photos, rate = RunningMeans(), time.monotonic(), 0, 0.0
        for step, batch in enumerate(self.data.batches(batches, self.task.copies, epoch)):
            self.encoder.set_training(head_only=epoch <= options.head_epochs)
            rate = set_rates(self.optimizer, (epoch - 1 + (step + 1) / len(batches)) / options.epochs, options.warmup)
            rng = np.random.default_rng([options.seed, epoch, step, 1])
            with self._precision():
                loss, figures = self.task.batch_loss(self.encoder, batch, rng)
            value = loss.item()
            if not math.isfinite(value):
                message = f"The loss became {value} in epoch {epoch}: lower --lr or --head-lr."
                raise TrainingFailed(message, code="loss_not_finite")
            self._step(loss)
            running_means.add({"train_loss": value} | dict(figures), len(batch.labels))
            photos += len(batch.labels) * world_size()
            time_estimator.finish_step(step + 1, len(batches))
            if rank() == 0:
                speed = photos / max(time.monotonic() - started, 1e-9)
                left, means = time_estimator.seconds_left(), running_means.means()
                watcher.step(Step(epoch, options.epochs, step + 1, len(batches), value, speed, left, means))
        speed = photos / max(time.monotonic() - started, 1e-9)
        return running_means.means() | {"photos_per_second": round(speed, 2), "lr": options.lr * rate}

    def _step(self, loss: torch.Tensor) -> None:
        options = self.options
        parts = [*self.encoder.trained_stages, self.encoder.network.head]
        self.optimizer.zero_grad()
        total = (
            loss + penalty(parts, options.l1, options.l2) / world_size()
        )  # each process adds its share of the penalty
        total.backward()  # type: ignore[no-untyped-call] # torch's own
        all_reduce_gradients(self.encoder.parameters(), self.task.loss.parameters())
        if options.clip:
            weights = [weight for group in self.optimizer.param_groups for weight in group["params"]]
            torch.nn.utils.clip_grad_norm_(weights, options.clip)
        self.optimizer.step()
        self.average.update(self.encoder)

    def _precision(self) -> AbstractContextManager[Any]:
        precision = self.options.precision
        if precision == "auto":
            precision = "bfloat16" if _has_bfloat16(training_device()) else "float32"
        return torch.autocast(training_device().type, torch.bfloat16) if precision == "bfloat16" else nullcontext()

    def _keep_best(self, epoch: int, row: Mapping[str, float]) -> None:
        """Save the network if this epoch is the best; the same decision in all processes.

        Raises `TrainingFailed` where the vectors have collapsed into one.
        """
        spread = broadcast_from_first(row.get("spread", 1.0))
        if broadcast_from_first(float(rank() == 0 and self._has_collapsed(spread))):
            raise TrainingFailed(
                f"The vectors collapsed in epoch {epoch}: their spread is {spread:.4f}. Lower the learning rate, or "
                "choose an easier miner (--miner semihard) or a loss with proxies (--label-loss softmax).",
                code="vectors_collapsed",
            )
        score = broadcast_from_first(self.task.score(row) if rank() == 0 else 0.0)
        if score > self.best:
            self.best, self.best_epoch = score, epoch
            if rank() == 0:
                save_checkpoint(self.folder.path / BEST_FILE, {"body": self.average.network.state_dict()})

    def _has_collapsed(self, spread: float) -> bool:
        """Return whether the spread is near 0 and not rising: random weights start near 0, and training raises it."""
        if spread >= COLLAPSED_SPREAD:
            return False
        rows = self.folder.rows()
        if not rows:
            return self.options.pretrained or bool(self.options.start_from)
        return spread <= float(rows[-1]["spread"])

    def _save(self) -> None:
        save_checkpoint(
            self.folder.path / CHECKPOINT_FILE,
            {
                "about": dict(self.fingerprint),
                "body": self.encoder.state_dict(),
                "loss": self.task.loss.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "average": self.average.network.state_dict() if self.options.ema else {},
                "steps": self.average.steps,
                "epoch": self.epochs_done,
                "best": self.best,
                "best_epoch": self.best_epoch,
            },
        )


def _has_bfloat16(device: torch.device) -> bool:
    """Return whether the device is a GPU with bfloat16 arithmetic; older ones emulate it slowly."""
    return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)


def _derive_seed(seed: int, epoch: int, process: int) -> int:
    """Return a seed for dropout and stochastic depth that differs between epochs and processes."""
    return int.from_bytes(hashlib.sha256(f"{seed} {epoch} {process}".encode()).digest()[:7], "big")
