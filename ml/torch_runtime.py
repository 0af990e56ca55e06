"""Runs a network with torch: on the GPU where there is one."""

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ml.card import Card
from ml.network import EncoderNetwork, network_from_card
from ml.runtime import Forward, Outputs
from ml.vectors import Floats

CPU = torch.device("cpu")


def torch_forward(card: Card, weights: Mapping[str, npt.NDArray[np.floating]], threads: int | None = None) -> Forward:
    """Return the network of `card` with its `weights` as a function, safe to call from many threads.

    `threads` sets torch's threads for the whole process; None leaves them alone.
    Raises `EncoderIncompatible` or `EncoderCorrupt`.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network = network_forward(network_from_card(card, weights).to(device), device)

    def forward(pixels: Floats) -> Outputs:
        # cuDNN would round the inputs of convolutions to TF32, and the vectors would differ from those of a CPU.
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            return network(pixels)

    return forward


def network_forward(network: EncoderNetwork, device: torch.device = CPU) -> Forward:
    """Wrap a network that lives on `device`, in its present mode and without gradients."""

    def forward(pixels: Floats) -> Outputs:
        with torch.inference_mode():
            outputs, strangeness = network.judged(torch.from_numpy(pixels).to(device))
            return Outputs(outputs.cpu().numpy(), None if strangeness is None else strangeness.cpu().numpy())

    return forward


def torch_outputs(network: Callable[[Tensor], Tensor], device: torch.device = CPU) -> Callable[[Floats], Floats]:
    """Wrap a part of a network that lives on `device`: float32 arrays in, float32 arrays out, no gradients."""

    def forward(pixels: Floats) -> Floats:
        with torch.inference_mode():
            outputs: Floats = network(torch.from_numpy(pixels).to(device)).cpu().numpy()
            return outputs

    return forward
