"""Estimate the disk, memory and time of a training run, and measure what is free. Constants: EfficientNet-Lite0."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

VIEW_BYTES: Final = 3.0  # of a cached view per input pixel: red, green, blue
EARLY_MAP_BYTES: Final = 8.0  # of cached features of the first stages per input pixel: few but large maps
LATE_MAP_BYTES: Final = 1.3  # of cached features of the sixth and later stages
OUTPUT_BYTES: Final = 300_000_000  # checkpoint, pictures, encoder
TORCH_BYTES: Final = 1_200_000_000  # libraries, network, a batch of 64 at 224 pixels
DECODED_BYTES: Final = 4.5  # of a decoded photo per input pixel: it is stored a little larger than the input

# Photos per second on two cores at 224 pixels. `frozen`: with six frozen stages.
VIEWS_PER_SECOND: Final = 60.0
STEPS_PER_SECOND: Final = {"frozen": 55.0, "whole": 29.0}
VALIDATION_SPEEDUP: Final = 2.5  # validation after an epoch is faster than training
EPOCH_SECONDS, FINAL_SECONDS = 10.0, 60.0  # pictures of an epoch; measuring and writing the encoder


@dataclass(frozen=True)
class ResourceEstimate:
    """`disk` and `memory` in bytes, `minutes` on two cores of a CPU."""

    disk: int
    memory: int
    minutes: float


def estimate_resources(*, options: Mapping[str, Any], train: int, held: int) -> ResourceEstimate:
    """Estimate a run with complete `options` on `train` training photos and `held` validation photos."""
    pixels = options["side"] ** 2
    frozen = options["freeze_stages"]
    bytes_per_pixel = VIEW_BYTES if not frozen else EARLY_MAP_BYTES if frozen < 6 else LATE_MAP_BYTES
    cached = train * max(1, options["views"]) + 2 * held
    disk = cached * bytes_per_pixel * pixels + OUTPUT_BYTES
    size = pixels / 224**2
    memory = (train + held) * DECODED_BYTES * pixels + TORCH_BYTES * max(1.0, options["batch_size"] / 64 * size)
    uncached = 0 if options["views"] else 2 * train * options["epochs"]
    seconds = (cached + uncached) * size / VIEWS_PER_SECOND
    speed = STEPS_PER_SECOND["frozen" if frozen else "whole"] / size
    epoch_seconds = train / speed + (train + 2 * held) / (VALIDATION_SPEEDUP * speed) + EPOCH_SECONDS
    seconds += options["epochs"] * epoch_seconds + FINAL_SECONDS
    return ResourceEstimate(round(disk), round(memory), seconds / 60)


def free_disk_bytes(folder: Path) -> int:
    """Free bytes of the file system of a folder, which may not exist yet."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def free_memory_bytes() -> int | None:
    """Free bytes of memory within the limit of the container; None where the system does not report it."""
    limits = [free for free in (_free_in_system(), _free_in_container()) if free is not None]
    return min(limits, default=None)


def _free_in_system() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError):
        return None


def _free_in_container() -> int | None:
    cgroup = Path("/sys/fs/cgroup")
    try:
        used = int((cgroup / "memory.current").read_text())
        reclaimable = next(
            int(line.split()[1])
            for line in (cgroup / "memory.stat").read_text().splitlines()
            if line.startswith("inactive_file ")
        )
        return int((cgroup / "memory.max").read_text()) - used + reclaimable  # "max" raises ValueError: no limit
    except (OSError, StopIteration, ValueError):
        return None
