"""An encoder folder ready to run, whatever its kind: through ONNX Runtime, OpenVINO or torch (imported where used)."""

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import numpy as np
from PIL import Image

from ml.encoder.card import Card
from ml.encoder.folder import read_onnx, read_weights
from ml.formats.errors import InputError
from ml.images.preprocess import Preprocess
from ml.vectors import Floats

Runtime = Literal["onnx", "openvino", "torch"]
RuntimeChoice = Literal["auto", "onnx", "openvino", "torch"]
RUNTIMES = get_args(RuntimeChoice)
Precision = Literal["float32", "bfloat16"]

BATCH = 32
NVIDIA_DRIVER = Path("/proc/driver/nvidia/version")

CORE_BATCH = 2
"""Pictures that one core of a CPU takes through the network at a time.

The activations of more of them leave the cache: over batches of 32 two cores were a tenth to a third slower with all
32 in one call. One at a time is no faster, and costs a call each.
"""


class RuntimeUnavailable(InputError):
    """What should run the network is not installed, or cannot do on this machine what it was asked for."""


class Outputs(NamedTuple):
    """What a network answers: `outputs` (n, dim), and `strangeness` (n) if its card has that entry, else None."""

    outputs: Floats
    strangeness: Floats | None = None


Forward = Callable[[Floats], Outputs]
"""Runs the network on pixels (n, 3, h, w), float32. Safe to call from many threads."""


def load_forward(
    folder: Path, card: Card, runtime: RuntimeChoice, threads: int | None, precision: Precision = "float32"
) -> tuple[Runtime, Forward]:
    """Return the network in `folder` and what runs it, after checking the file that is used against `card`.

    `runtime`: "auto" takes torch where there is a CUDA device and ONNX Runtime elsewhere. `threads`: how many cores one
    call may use; None leaves it to the runtime. For torch this is a setting of the whole process. `precision`:
    "float32" gives the same vectors on every machine; "bfloat16" is faster where the hardware computes in it, and moves
    a vector by a cosine of about 0.998.
    Raises `EncoderIncompatible`, `EncoderCorrupt` or `RuntimeUnavailable`.
    """
    if runtime == "torch" or (runtime == "auto" and _has_cuda()):
        from ml.runtime.torch import torch_forward

        return "torch", torch_forward(card, read_weights(folder, card), threads, precision)
    if runtime == "openvino":
        from ml.runtime.openvino import openvino_forward

        return "openvino", openvino_forward(card, read_onnx(folder, card), threads, precision)
    if precision != "float32":
        raise RuntimeUnavailable(f"ONNX Runtime does not compute in {precision}; openvino and torch do.")
    from ml.runtime.onnx import onnx_forward

    return "onnx", onnx_forward(card, read_onnx(folder, card), threads)


def in_lanes(alone: Forward, beside: Forward, lanes: int) -> Forward:
    """Return what runs batches of any size on a CPU, from what runs at most `CORE_BATCH` pictures.

    `alone` has all cores for a lonely picture. Of several pictures each core takes a part through the whole network
    with `beside`, and waits for no other core at every layer; `lanes` of them run at a time.
    """
    pool = ThreadPoolExecutor(lanes, thread_name_prefix="lane")  # starts its threads when it is first used

    def forward(pixels: Floats) -> Outputs:
        if len(pixels) <= CORE_BATCH:
            return alone(pixels) if len(pixels) == 1 else beside(pixels)
        parts = [pixels[start : start + CORE_BATCH] for start in range(0, len(pixels), CORE_BATCH)]
        return joined(list(pool.map(beside, parts)))

    return forward


def joined(parts: Sequence[Outputs]) -> Outputs:
    """Return the answers about parts of a batch as one."""
    judged = [part.strangeness for part in parts if part.strangeness is not None]
    return Outputs(np.concatenate([part.outputs for part in parts]), np.concatenate(judged) if judged else None)


def cores() -> int:
    """How many cores this process may use; containers and `taskset` allow fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def prepared(images: Sequence[Image.Image], preprocess: Preprocess) -> Iterator[Floats]:
    """Yield the pixels of pictures in batches (at most 32, 3, h, w). Raises Pillow's `OSError` for a broken one.

    Pictures may have any mode and size. A JPEG that Pillow has not decoded yet is decoded at a reduced scale, which is
    faster and changes the `Image` object.
    """
    for start in range(0, len(images), BATCH):
        yield np.stack([preprocess(image) for image in images[start : start + BATCH]])


def _has_cuda() -> bool:
    """Whether torch can use a GPU. Without NVIDIA's driver torch is not even imported: that costs 1.6 s and 210 MB."""
    if not NVIDIA_DRIVER.exists() and shutil.which("nvidia-smi") is None:
        return False
    try:
        import torch
    except ImportError:
        return False
    return torch.cuda.is_available()
