"""Losses and gradients of joint batches, computed by one process or shared by several.

`torchrun … -m tests.helpers.joint_batch MANIFEST FOLDER` writes the results of each process to FOLDER/RANK.pt, and
trains two encoders with a tiny backbone on the garments of MANIFEST: FOLDER/shared, a classifier, and FOLDER/two, a
metric encoder whose progress it prints as JSON lines.
"""

import io
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ml.cli import main
from ml.training.classifier import ClassifierTask
from ml.training.dataset import Batch
from ml.training.distributed import all_reduce_gradients, broadcast_from_first, process_group, rank, world_size
from ml.training.losses import MetricLoss
from ml.training.options import ClassifierOptions, MetricOptions
from tests.helpers.tiny_backbone import STAGES, tiny_backbone
from tests.helpers.tiny_model import tiny_encoder, tiny_pictures

PHOTOS = 9
"""An odd number, so that two processes have different shares."""
LABELS = np.array([0, 0, 0, 1, 1, 1, 2, 2, 1])

PLAIN = MetricOptions(embedding_size=10, label_size=4, batch_size=PHOTOS, drop=0.0, scale=8.0, temperature=0.2)
METRIC: dict[str, MetricOptions] = {
    "softmax": replace(PLAIN, label_loss="softmax"),
    "proxy-anchor": replace(PLAIN, label_loss="proxy-anchor"),
    "arcface": replace(PLAIN, label_loss="arcface", margin=0.3),
    "triplet": replace(PLAIN, label_loss="triplet", miner="none", margin=0.3),
    "triplet, mined": replace(PLAIN, label_loss="triplet", miner="semihard", margin=0.3),
    "multi-similarity, mined": replace(PLAIN, label_loss="multi-similarity", miner="multi-similarity", margin=0.3),
    "supcon": replace(PLAIN, label_loss="supcon", miner="none"),
    "items alone": replace(PLAIN, label_loss="none"),
    "items by triplets": replace(PLAIN, identity_loss="triplet", identity_weight=0.5),
    "whole vectors": replace(PLAIN, label_size=0),
    "remembered": replace(PLAIN, label_loss="triplet", miner="all", margin=0.3, memory=4 * PHOTOS),
    "remembered in part": replace(PLAIN, label_loss="supcon", miner="none", memory=3 * PHOTOS),
}
CLASSIFIERS: dict[str, ClassifierOptions] = {
    "cross entropy": ClassifierOptions(drop=0.0, smoothing=0.1),
    "hidden512": ClassifierOptions(drop=0.0, head="hidden512"),
}
STEPS = 3
"""Consecutive batches without an optimizer step between them: a cross-batch memory is full in the third."""

CaseResults = dict[str, dict[str, Any]]


def compute_cases() -> CaseResults:
    """Return for each case the losses and triplet counts of the batches, and the gradients of the last one by name."""
    return {name: _metric(options) for name, options in METRIC.items()} | {
        name: _classifier(options) for name, options in CLASSIFIERS.items()
    }


def _metric(options: MetricOptions) -> dict[str, Any]:
    encoder, loss = tiny_encoder(options), MetricLoss(options, 3)
    encoder.set_training(head_only=False)
    values = []
    for step in range(STEPS):
        inputs, labels, items = _batch_share(step)
        encoder.zero_grad()
        loss.zero_grad()
        value = loss(encoder(inputs), labels, items)
        value.total.backward()
        values.append((value.total.item(), value.label, value.identity, value.mined, value.active))
    all_reduce_gradients(encoder.parameters(), loss.parameters())
    return {"values": values, "gradients": _gradients(encoder) | _gradients(loss)}


def _classifier(options: ClassifierOptions) -> dict[str, Any]:
    encoder, task = tiny_encoder(options), ClassifierTask(None, options)  # type: ignore[arg-type] # it does not validate
    encoder.set_training(head_only=False)
    inputs, labels, items = _batch_share(0)
    value, figures = task.batch_loss(encoder, Batch(inputs, labels, items), np.random.default_rng(0))
    value.backward()
    all_reduce_gradients(encoder.parameters(), task.loss.parameters())
    return {"values": [(value.item(), figures["train_accuracy"])], "gradients": _gradients(encoder)}


def _batch_share(step: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return this process' pictures, labels and items of a batch with two views of each photo."""
    share = slice(rank(), None, world_size())
    views = [tiny_pictures(PHOTOS, seed=10 * step + copy)[share] for copy in range(2)]
    labels = torch.from_numpy(np.tile(LABELS[share], 2))
    items = torch.from_numpy(np.tile((PHOTOS * step + np.arange(PHOTOS))[share], 2))
    return torch.cat(views), labels, items


def _gradients(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: weight.grad.clone() for name, weight in module.named_parameters() if weight.grad is not None}


SMALL_RUN = (
    *(
        "--epochs=2",
        "--batch-size=9",
        "--side=32",
        f"--freeze-stages={STAGES - 1}",
        "--views=3",
        "--drop=0",
        "--threads=1",
    ),
    "--no-pictures",
)
PENALTIES = ("--lr=0.003", "--l1=1e-5", "--l2=1e-3", "--clip=0.5")


def train_classifier(manifest: Path, out: Path) -> int:
    """Train a classifier on the garments of `manifest` into the encoder folder `out` and return the exit code."""
    places = ["--data", str(manifest), "--out", str(out)]
    return main(["train-classifier", *places, *SMALL_RUN, *PENALTIES, "--progress=none"])


def train_metric(manifest: Path, out: Path, progress: str) -> int:
    """Train a metric encoder on the garments of `manifest` into the encoder folder `out` and return the exit code."""
    places = ["--data", str(manifest), "--out", str(out)]
    return main(["train-metric", *places, *SMALL_RUN, "--embedding-size=12", "--label-size=6", "--progress", progress])


def too_small(manifest: Path, out: Path) -> str:
    """Return the error message for a batch of three photos."""
    words = ["train-classifier", "--data", str(manifest), "--out", str(out), "--batch-size=3"]
    with redirect_stderr(io.StringIO()) as errors:
        code = main(words)
    return errors.getvalue().strip().removeprefix("python -m ml: ") if code == 2 else f"exit code {code}"


def _program(manifest: Path, folder: Path) -> int:
    torch.set_num_threads(1)
    with process_group(), tiny_backbone():
        checks = {"broadcast": broadcast_from_first(float(rank())), "too small": too_small(manifest, folder / "small")}
        torch.save(compute_cases() | checks, folder / f"{rank()}.pt")
        with redirect_stdout(io.StringIO()):
            code = train_classifier(manifest, folder / "shared")
        return code or train_metric(manifest, folder / "two", "json")


if __name__ == "__main__":
    sys.exit(_program(Path(sys.argv[1]), Path(sys.argv[2])))
