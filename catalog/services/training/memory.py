"""About how much a training run needs, and what this machine has left. Measured with EfficientNet-Lite0."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

PICTURE: Final = 3.0  # bytes of a kept view for each pixel that the network reads: red, green, blue
EARLY_MAPS: Final = 8.0  # of what the first stages make of it: few, but large maps
LATE_MAPS: Final = 1.3  # and the sixth and later ones
WITH_FILES: Final = 300_000_000  # checkpoint, pictures, encoder
TORCH: Final = 1_200_000_000  # the libraries, the network, a batch of 64 at 224 pixels
DECODED: Final = 4.5  # bytes of a decoded photo for each pixel that the network reads: it is kept a little larger

VIEWS_PER_SECOND: Final = 60.0  # made on two cores, at 224 pixels
STEPS_PER_SECOND: Final = {"frozen": 55.0, "whole": 29.0}  # photos, with six stages frozen or none, there as well
LOOKED_AT: Final = 2.5  # times as many photos a second are only looked at, after each epoch
DRAWING, WRITING = 10.0, 60.0  # seconds for the pictures of an epoch, and for measuring and writing the encoder


@dataclass(frozen=True)
class ResourceEstimate:
    """`disk` and `memory` in bytes, `minutes` on two cores of a CPU."""

    disk: int
    memory: int
    minutes: float


def estimate_resources(*, options: Mapping[str, Any], train: int, held: int) -> ResourceEstimate:
    """Of a run with all these options on so many photos to learn from, and so many to look at after each epoch."""
    pixels = options["side"] ** 2
    frozen = options["freeze_stages"]
    per_view = PICTURE if not frozen else EARLY_MAPS if frozen < 6 else LATE_MAPS
    kept = train * max(1, options["views"]) + 2 * held
    disk = kept * per_view * pixels + WITH_FILES
    memory = (train + held) * DECODED * pixels + TORCH * max(1.0, options["batch_size"] / 64 * pixels / 224**2)
    size = pixels / 224**2
    fresh = 0 if options["views"] else 2 * train * options["epochs"]
    seconds = (kept + fresh) * size / VIEWS_PER_SECOND
    speed = STEPS_PER_SECOND["frozen" if frozen else "whole"] / size
    an_epoch = train / speed + (train + 2 * held) / (LOOKED_AT * speed) + DRAWING
    seconds += options["epochs"] * an_epoch + WRITING
    return ResourceEstimate(round(disk), round(memory), seconds / 60)


def free_disk_bytes(folder: Path) -> int:
    """Bytes that are free where the folder is, or will be."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def free_memory_bytes() -> int | None:
    """Bytes that are free, also by what this container may use; None where nobody tells."""
    found = [room for room in (_available(), _left_to_container()) if room is not None]
    return min(found, default=None)


def _available() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError):
        return None


def _left_to_container() -> int | None:
    limits = Path("/sys/fs/cgroup")
    try:
        used = int((limits / "memory.current").read_text())
        reclaimable = next(
            int(line.split()[1])
            for line in (limits / "memory.stat").read_text().splitlines()
            if line.startswith("inactive_file ")
        )
        return int((limits / "memory.max").read_text()) - used + reclaimable  # "max" is no number: no limit
    except (OSError, StopIteration, ValueError):
        return None
