"""Run a network with torch, on the GPU if there is one."""

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ml.encoder.card import Card
from ml.encoder.network import EncoderNetwork, network_from_card
from ml.runtime.types import Forward, Outputs, Precision
from ml.vectors import Floats

CPU = torch.device("cpu")


def torch_forward(
    card: Card,
    weights: Mapping[str, npt.NDArray[np.floating]],
    threads: int | None = None,
    precision: Precision = "float32",
) -> Forward:
    """Return the network of `card` with its `weights` as a thread-safe function.

    `threads` sets torch's threads for the whole process; None leaves them unchanged.
    Raises `EncoderIncompatible` or `EncoderCorrupt`.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    # cuDNN would round the inputs of convolutions to TF32, and the vectors would differ from those of a CPU. It is a
    # setting of the process: switched back and forth, another thread's value could hold when a kernel is chosen.
    torch.backends.cudnn.allow_tf32 = False
    network = network_from_card(card, weights).to(device)
    # Convolutions on a GPU are faster with channels last. Nothing is compiled: each new batch size would delay a
    # shopper's first photo by half a minute.
    return network_forward(network.to(memory_format=torch.channels_last), device, precision)  # type: ignore[call-overload]


def network_forward(network: EncoderNetwork, device: torch.device = CPU, precision: Precision = "float32") -> Forward:
    """Wrap a network on `device` as a `Forward`, in its present mode and without gradients.

    "bfloat16" applies to the backbone. The layers after it compute in float32: the OOD score is a difference of nearly
    equal numbers.
    """
    is_bfloat16 = precision == "bfloat16"

    def forward(pixels: Floats) -> Outputs:
        with torch.inference_mode():
            with torch.autocast(device.type, torch.bfloat16, enabled=is_bfloat16):
                maps = network.trunk(_to_device(pixels, device))
            features = network.pool(maps.float())
            ood_score = None if network.strangeness is None else network.strangeness(features).cpu().numpy()
            return Outputs(network.head(features).cpu().numpy(), ood_score)

    return forward


def torch_outputs(network: Callable[[Tensor], Tensor], device: torch.device = CPU) -> Callable[[Floats], Floats]:
    """Wrap a part of a network on `device` as a function of float32 arrays, without gradients."""

    def forward(pixels: Floats) -> Floats:
        with torch.inference_mode():
            outputs: Floats = network(torch.from_numpy(pixels).to(device)).cpu().numpy()
            return outputs

    return forward


def _to_device(pixels: Floats, device: torch.device) -> Tensor:
    """Copy pixels to the device; from pinned memory the GPU copies asynchronously."""
    images = torch.from_numpy(pixels)
    if device.type != "cuda":
        return images
    return images.pin_memory().to(device, non_blocking=True).contiguous(memory_format=torch.channels_last)
