"""The command line of a training run."""

import os
import sys
from pathlib import Path

from catalog.models import TrainingRun
from catalog.run_folder import run_encoder_folder, run_folder
from catalog.services.training.runs import run_arguments
from worker.processes import launcher


def training_command(run: TrainingRun, processes: int) -> list[str]:
    """What trains a run, going on from its checkpoint if there is one. Refused for an encoder that is gone."""
    folder = run_folder(run)
    words = [
        f"train-{run.kind}",
        *("--data", str(folder / "data.csv"), "--out", str(run_encoder_folder(run))),
        *("--run", str(folder / "run"), "--cache", str(folder / "cache")),
        *("--resume", "--progress", "json", "--tracker", run.tracker),
        *("--about-data", about_data(run)),
        *run_arguments(run=run),
    ]
    if processes > 1:
        # torchrun puts each of its processes into a session of its own; so launched they do not outlive it.
        together = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
        each = [sys.executable, "-I", "-S", launcher.__file__, "parent", "normal"]  # of the one that starts them
        return [*together, "--no-python", "--", *each, sys.executable, "-m", "ml", *words]
    return [sys.executable, "-m", "ml", *words]


def about_data(run: TrainingRun) -> str:
    """What the photos are, for the encoder's card."""
    source = run.get_source_display()
    return f"{source}, run {run.name}"


def gpus() -> int:
    """How many GPUs a program started now would see. Asked without loading torch, which takes seconds."""
    there = len(list(Path("/dev").glob("nvidia[0-9]*")))
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is None or not there:
        return there
    names = [name.strip() for name in chosen.split(",")]
    return next((at for at, name in enumerate(names) if name in ("", "-1", "NoDevFiles")), len(names))
