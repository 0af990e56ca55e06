"""Load the network of an encoder folder with ONNX Runtime, OpenVINO or torch (each imported only where used)."""

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from ml.encoder.card import Card
from ml.encoder.folder import read_onnx, read_weights
from ml.images.preprocess import Preprocess
from ml.runtime.types import Forward, Precision, Runtime, RuntimeChoice, RuntimeUnavailable
from ml.vectors import Floats

BATCH = 32
NVIDIA_DRIVER = Path("/proc/driver/nvidia/version")


def load_forward(
    folder: Path, card: Card, runtime: RuntimeChoice, threads: int | None, precision: Precision = "float32"
) -> tuple[Runtime, Forward]:
    """Return the chosen runtime and the network in `folder`, after checking the file it reads against `card`.

    `runtime`: "auto" takes torch where there is a CUDA device and ONNX Runtime elsewhere. `threads`: how many cores one
    call may use; None leaves it to the runtime. For torch this is a setting of the whole process. `precision`:
    "float32" gives the same vectors on every machine; "bfloat16" is faster on hardware that computes in it, and moves
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
        raise RuntimeUnavailable(
            f"ONNX Runtime does not compute in {precision}; openvino and torch do.", code="precision_unsupported"
        )
    from ml.runtime.onnx import onnx_forward

    return "onnx", onnx_forward(card, read_onnx(folder, card), threads)


def pixel_batches(images: Sequence[Image.Image], preprocess: Preprocess) -> Iterator[Floats]:
    """Yield the preprocessed pixels of pictures in batches (at most 32, 3, h, w).

    Pictures may have any mode and size. A JPEG that Pillow has not decoded yet is decoded at a reduced scale, which is
    faster and changes the `Image` object. Raises Pillow's `OSError` for a broken picture.
    """
    for start in range(0, len(images), BATCH):
        yield np.stack([preprocess(image) for image in images[start : start + BATCH]])


def _has_cuda() -> bool:
    """Return whether torch can use a GPU. Without NVIDIA's driver, torch (1.6 s, 210 MB) is not imported."""
    if not NVIDIA_DRIVER.exists() and shutil.which("nvidia-smi") is None:
        return False
    try:
        import torch
    except ImportError:
        return False
    return torch.cuda.is_available()
