"""From pictures to unit vectors with an encoder folder, through ONNX Runtime or torch (imported only for CUDA)."""

import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from ml.card import Card, EncoderIncompatible
from ml.encoder_folder import read_card, read_onnx, read_weights
from ml.vectors import Floats, unit_rows

Runtime = Literal["onnx", "torch"]
Forward = Callable[[Floats], Floats]

BATCH = 32
NVIDIA_DRIVER = Path("/proc/driver/nvidia/version")


@dataclass(frozen=True)
class Embedder:
    """An encoder ready for use. Holds no state that a call changes, so threads may share one.

    `forward` runs the network: pixels (n, 3, h, w) to outputs (n, dim), both float32.
    """

    card: Card
    runtime: Runtime
    forward: Forward

    @property
    def dim(self) -> int:
        """Length of a vector."""
        return self.card.dim

    def embed(self, images: Sequence[Image.Image]) -> Floats:
        """Return one unit vector per picture, float32 (n, dim); n may be 0.

        Pictures may have any mode and size. A JPEG that Pillow has not decoded yet is decoded at a reduced scale, which
        is faster and changes the `Image` object. Raises Pillow's `OSError` for a broken picture, `VectorError` where
        the network answers with zeros or NaN.
        """
        starts = range(0, len(images), BATCH)
        prepared = (np.stack([self.card.preprocessing(image) for image in images[i : i + BATCH]]) for i in starts)
        return self.embed_batches(prepared)

    def embed_batches(self, batches: Iterable[Floats]) -> Floats:
        """Return the unit vectors (n, dim) of batches of prepared pixels, each (at most 32, 3, h, w), as one array."""
        vectors = [unit_rows(self.forward(pixels)) for pixels in batches]
        return np.concatenate([np.empty((0, self.dim), dtype=np.float32), *vectors])


def load_embedder(
    folder: Path, runtime: Literal["auto", "onnx", "torch"] = "auto", threads: int | None = None
) -> Embedder:
    """Load the metric encoder in `folder` after checking the file that is used against its card.

    `runtime`: "auto" takes torch where there is a CUDA device and ONNX Runtime elsewhere. `threads`: how many cores one
    call may use; None leaves it to the runtime. For torch this is a setting of the whole process.
    Raises `EncoderIncompatible` or `EncoderCorrupt`.
    """
    card = read_card(folder)
    if card.kind != "metric":
        raise EncoderIncompatible(f"{str(folder)!r} holds a {card.kind}, which gives labels and not embeddings.")
    if runtime == "torch" or (runtime == "auto" and _has_cuda()):
        from ml.torch_runtime import torch_forward

        return Embedder(card, "torch", torch_forward(card, read_weights(folder, card), threads))
    from ml.onnx_runtime import onnx_forward

    return Embedder(card, "onnx", onnx_forward(card, read_onnx(folder, card), threads))


def _has_cuda() -> bool:
    """Whether torch can use a GPU. Without NVIDIA's driver torch is not even imported: that costs 1.6 s and 210 MB."""
    if not NVIDIA_DRIVER.exists() and shutil.which("nvidia-smi") is None:
        return False
    try:
        import torch
    except ImportError:
        return False
    return torch.cuda.is_available()
