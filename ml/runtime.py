"""An encoder folder ready to run, whatever its kind: through ONNX Runtime, or torch (imported only for CUDA)."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from PIL import Image

from ml.card import Card
from ml.encoder_folder import read_onnx, read_weights
from ml.preprocess import Preprocess
from ml.vectors import Floats

Runtime = Literal["onnx", "torch"]
RuntimeChoice = Literal["auto", "onnx", "torch"]

BATCH = 32
NVIDIA_DRIVER = Path("/proc/driver/nvidia/version")


class Outputs(NamedTuple):
    """What a network answers: `outputs` (n, dim), and `strangeness` (n) if its card has that entry, else None."""

    outputs: Floats
    strangeness: Floats | None = None


Forward = Callable[[Floats], Outputs]
"""Runs the network on pixels (n, 3, h, w), float32. Safe to call from many threads."""


def load_forward(folder: Path, card: Card, runtime: RuntimeChoice, threads: int | None) -> tuple[Runtime, Forward]:
    """Return the network in `folder` and what runs it, after checking the file that is used against `card`.

    `runtime`: "auto" takes torch where there is a CUDA device and ONNX Runtime elsewhere. `threads`: how many cores one
    call may use; None leaves it to the runtime. For torch this is a setting of the whole process.
    Raises `EncoderIncompatible` or `EncoderCorrupt`.
    """
    if runtime == "torch" or (runtime == "auto" and _has_cuda()):
        from ml.torch_runtime import torch_forward

        return "torch", torch_forward(card, read_weights(folder, card), threads)
    from ml.onnx_runtime import onnx_forward

    return "onnx", onnx_forward(card, read_onnx(folder, card), threads)


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
