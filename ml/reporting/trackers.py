"""Experiment trackers: Weights & Biases, TensorBoard, or none (the default).

A tracker only repeats the contents of `metrics.jsonl` and the pictures.
"""

import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
from PIL import Image

from ml.formats.atomic_files import atomic_write
from ml.formats.errors import InputError

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

TrackerName = Literal["none", "wandb", "tensorboard"]

WANDB_PROJECT = "clothes-matcher"
"""The W&B project of the runs, unless the environment variable WANDB_PROJECT names another."""

WANDB_ID_FILE = "wandb_id.txt"
TENSORBOARD_FOLDER = "tensorboard"


class TrackerError(InputError):
    """The tracker is unknown, not installed, or refuses to start a run."""

    code = "tracker_failed"


class Tracker(Protocol):
    """Records one run. Calls come in the order of the epochs; none after `finish`."""

    def log(self, epoch: int, values: Mapping[str, float]) -> None:
        """Record the figures of an epoch."""

    def picture(self, epoch: int, name: str, path: Path) -> None:
        """Record the picture in the file `path` under `name`."""

    def finish(self) -> None:
        """Write all buffered records."""


def open_tracker(name: TrackerName, folder: Path, run_name: str, configuration: Mapping[str, object]) -> Tracker:
    """Return the tracker called `name`, which keeps its files in the run's `folder`.

    A run that is opened again in the same folder, after a crash, continues. Raises `TrackerError`.
    """
    match name:
        case "none":
            return _NoTracker()
        case "wandb":
            return _WandbTracker(folder, run_name, configuration)
        case "tensorboard":
            return _TensorBoardTracker(folder / TENSORBOARD_FOLDER, run_name, configuration)
    raise TrackerError(f"There is no tracker {name!r}; choose none, wandb or tensorboard.", code="unknown_tracker")


class _NoTracker:
    def log(self, epoch: int, values: Mapping[str, float]) -> None: ...

    def picture(self, epoch: int, name: str, path: Path) -> None: ...

    def finish(self) -> None: ...


class _WandbTracker:
    """A run at Weights & Biases, or in a folder if WANDB_MODE is "offline". wandb itself reads WANDB_API_KEY."""

    def __init__(self, folder: Path, run_name: str, configuration: Mapping[str, object]) -> None:
        # Read when wandb is imported: without it, the client reports every crash to its vendor.
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        try:
            import wandb
        except ImportError as error:
            message = "The tracker wandb is not installed: pip install wandb."
            raise TrackerError(message, code="tracker_not_installed") from error
        # Quiet, and only what is logged: no console output, source code, list of packages or machine statistics.
        settings = wandb.Settings(
            silent=True,
            console="off",
            save_code=False,
            disable_git=True,
            x_disable_meta=True,
            x_disable_stats=True,
            x_save_requirements=False,
        )
        offline = os.environ.get("WANDB_MODE") == "offline"
        try:
            self._run = wandb.init(
                project=os.environ.get("WANDB_PROJECT", WANDB_PROJECT),
                name=run_name,
                id=_stored_id(folder / WANDB_ID_FILE),
                resume=None if offline else "allow",
                dir=folder,
                config=dict(configuration),
                settings=settings,
                reinit="create_new",
            )
        except wandb.Error as error:
            reason = " ".join(str(error).split()).rstrip(".")
            raise TrackerError(f"Weights & Biases starts no run: {reason} (WANDB_MODE=offline needs none).") from error
        self._image = wandb.Image

    def log(self, epoch: int, values: Mapping[str, float]) -> None:
        self._run.log(dict(values), step=epoch)

    def picture(self, epoch: int, name: str, path: Path) -> None:
        self._run.log({name: self._image(str(path))}, step=epoch)

    def finish(self) -> None:
        self._run.finish()


def _stored_id(path: Path) -> str:
    """Return the W&B identifier of the run in this folder, created at its first start."""
    if not path.exists():
        with atomic_write(path) as file:
            file.write(secrets.token_hex(4).encode())
    return path.read_text()


class _TensorBoardTracker:
    """An event file, opened at the first figure because it marks from which epoch on older files are void."""

    def __init__(self, folder: Path, run_name: str, configuration: Mapping[str, object]) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            message = "The tracker tensorboard is not installed: pip install tensorboard."
            raise TrackerError(message, code="tracker_not_installed") from error
        self._open = SummaryWriter
        self._folder = folder
        self._description = f"**{run_name}**\n\n```\n{json.dumps(dict(configuration), indent=2, default=str)}\n```"
        self._writer: SummaryWriter | None = None

    def log(self, epoch: int, values: Mapping[str, float]) -> None:
        writer = self._writer_from(epoch)
        for name, value in values.items():
            writer.add_scalar(name, value, epoch)

    def picture(self, epoch: int, name: str, path: Path) -> None:
        with Image.open(path) as picture:
            pixels = np.asarray(picture.convert("RGB"))
        self._writer_from(epoch).add_image(name, pixels, epoch, dataformats="HWC")

    def finish(self) -> None:
        if self._writer:
            self._writer.close()

    def _writer_from(self, epoch: int) -> "SummaryWriter":
        if self._writer is None:
            self._writer = self._open(str(self._folder), purge_step=epoch)
            self._writer.add_text("run", self._description, epoch)
        return self._writer
