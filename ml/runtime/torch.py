"""Runs a network with torch: on the GPU where there is one."""

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ml.encoder.card import Card
from ml.encoder.network import EncoderNetwork, network_from_card
from ml.runtime.load import Forward, Outputs, Precision
from ml.vectors import Floats

CPU = torch.device("cpu")


def torch_forward(
    card: Card,
    weights: Mapping[str, npt.NDArray[np.floating]],
    threads: int | None = None,
    precision: Precision = "float32",
) -> Forward:
    """Return the network of `card` with its `weights` as a function, safe to call from many threads.

    `threads` sets torch's threads for the whole process; None leaves them alone.
    Raises `EncoderIncompatible` or `EncoderCorrupt`.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    # cuDNN would round the inputs of convolutions to TF32, and the vectors would differ from those of a CPU. It is a
    # setting of the process: switched back and forth, it would be another thread's by the time a kernel is chosen.
    torch.backends.cudnn.allow_tf32 = False
    network = network_from_card(card, weights).to(device)
    # Convolutions of a GPU read pixel by pixel. Nothing is compiled: each new size of a batch would take half a minute
    # of somebody's first photo.
    return network_forward(network.to(memory_format=torch.channels_last), device, precision)  # type: ignore[call-overload]


def network_forward(network: EncoderNetwork, device: torch.device = CPU, precision: Precision = "float32") -> Forward:
    """Wrap a network that lives on `device`, in its present mode and without gradients.

    In "bfloat16" that is what the trunk computes in. The few numbers that are left after it stay in float32: the
    strangeness is a difference of nearly equal ones.
    """
    coarse = precision == "bfloat16"

    def forward(pixels: Floats) -> Outputs:
        with torch.inference_mode():
            with torch.autocast(device.type, torch.bfloat16, enabled=coarse):
                maps = network.trunk(_moved(pixels, device))
            features = network.pool(maps.float())
            strangeness = None if network.strangeness is None else network.strangeness(features).cpu().numpy()
            return Outputs(network.head(features).cpu().numpy(), strangeness)

    return forward


def torch_outputs(network: Callable[[Tensor], Tensor], device: torch.device = CPU) -> Callable[[Floats], Floats]:
    """Wrap a part of a network that lives on `device`: float32 arrays in, float32 arrays out, no gradients."""

    def forward(pixels: Floats) -> Floats:
        with torch.inference_mode():
            outputs: Floats = network(torch.from_numpy(pixels).to(device)).cpu().numpy()
            return outputs

    return forward


def _moved(pixels: Floats, device: torch.device) -> Tensor:
    """The pixels on the device. From pinned memory a GPU fetches them itself, while this thread goes on."""
    here = torch.from_numpy(pixels)
    if device.type != "cuda":
        return here
    return here.pin_memory().to(device, non_blocking=True).contiguous(memory_format=torch.channels_last)
