"""Types shared by the runtimes, and `sharded`, which spreads a batch over the cores of a CPU."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Literal, NamedTuple, get_args

import numpy as np

from ml.encoder.card import Card
from ml.formats.encoder_folder import ONNX_FILE, EncoderCorrupt
from ml.formats.errors import InputError
from ml.vectors import Floats

Runtime = Literal["onnx", "openvino", "torch"]
RuntimeChoice = Literal["auto", "onnx", "openvino", "torch"]
RUNTIMES = get_args(RuntimeChoice)
Precision = Literal["float32", "bfloat16"]

CORE_BATCH = 2
"""Pictures that one CPU core takes through the network at a time.

The activations of more pictures leave the cache: over batches of 32 two cores were a tenth to a third slower with all
32 in one call. Batches of one are no faster and need a call per picture.
"""


class RuntimeUnavailable(InputError):
    """The runtime is not installed, or this machine cannot run the network as requested."""

    code = "runtime_unavailable"


class Outputs(NamedTuple):
    """The outputs of a network: `outputs` (n, dim), and `ood_score` (n), None if the card has no OOD threshold."""

    outputs: Floats
    ood_score: Floats | None = None


Forward = Callable[[Floats], Outputs]
"""Runs the network on pixels (n, 3, h, w), float32. Thread-safe."""


def sharded(single: Forward, per_core: Forward, workers: int) -> Forward:
    """Return a function for CPU batches of any size.

    `single` serves batch size 1 with all cores; `per_core` runs one shard of up to `CORE_BATCH` pictures through the
    whole network on one core, so that no core waits for another at every layer. `workers` shards run at a time.
    """
    pool = ThreadPoolExecutor(workers, thread_name_prefix="shard")  # starts its threads on first use

    def forward(pixels: Floats) -> Outputs:
        if len(pixels) <= CORE_BATCH:
            return single(pixels) if len(pixels) == 1 else per_core(pixels)
        shards = [pixels[start : start + CORE_BATCH] for start in range(0, len(pixels), CORE_BATCH)]
        return concatenate_outputs(list(pool.map(per_core, shards)))

    return forward


def concatenate_outputs(parts: Sequence[Outputs]) -> Outputs:
    """Return the outputs of the parts of a batch as one."""
    scores = [part.ood_score for part in parts if part.ood_score is not None]
    return Outputs(np.concatenate([part.outputs for part in parts]), np.concatenate(scores) if scores else None)


def available_cores() -> int:
    """Return how many cores this process may use; containers and `taskset` may allow fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def require_card_sizes(card: Card, inputs: Sequence[Sequence[object]], outputs: Sequence[Sequence[object]]) -> None:
    """Raise `EncoderCorrupt` if an ONNX model's input and output sizes, without the batch axis, do not fit `card`."""
    pixel_sizes = [3, card.preprocessing.height, card.preprocessing.width]
    output_sizes: list[list[int]] = [[card.dim]] if card.ood_threshold is None else [[card.dim], []]
    if [list(port) for port in inputs] != [pixel_sizes] or [list(port) for port in outputs] != output_sizes:
        raise EncoderCorrupt(
            f"{ONNX_FILE} has inputs {inputs}, outputs {outputs}; its card needs {[pixel_sizes]} and {output_sizes}.",
            code="onnx_sizes",
        )
