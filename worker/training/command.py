"""Build the command line of a training run."""

import os
import sys
from pathlib import Path

from catalog.models import TrainingRun
from catalog.run_folder import run_encoder_folder, run_folder
from catalog.services.training.runs import run_arguments
from worker.processes import launcher


def training_command(run: TrainingRun, processes: int) -> list[str]:
    """Return the command that trains a run, resuming from its checkpoint if there is one. `processes`: one per GPU.

    Raises `Refused` if the encoder to start from was deleted.
    """
    folder = run_folder(run)
    words = [
        f"train-{run.kind}",
        *("--data", str(folder / "data.csv"), "--out", str(run_encoder_folder(run))),
        *("--run", str(folder / "run"), "--cache", str(folder / "cache")),
        *("--resume", "--progress", "json", "--tracker", run.tracker),
        *("--about-data", data_description(run)),
        *run_arguments(run=run),
    ]
    if processes > 1:
        # torchrun starts each process in a session of its own; through the launcher they are killed with torchrun.
        torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
        wrapper = [sys.executable, "-I", "-S", launcher.__file__, "parent", "normal"]
        return [*torchrun, "--no-python", "--", *wrapper, sys.executable, "-m", "ml", *words]
    return [sys.executable, "-m", "ml", *words]


def data_description(run: TrainingRun) -> str:
    """Return the source of the photos, for the encoder's card."""
    source = run.get_source_display()
    return f"{source}, run {run.name}"


def count_gpus() -> int:
    """Return the number of GPUs visible to a child process, without loading torch, which takes seconds."""
    devices = len(list(Path("/dev").glob("nvidia[0-9]*")))
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None or not devices:
        return devices
    names = [name.strip() for name in visible.split(",")]
    return next((at for at, name in enumerate(names) if name in ("", "-1", "NoDevFiles")), len(names))
