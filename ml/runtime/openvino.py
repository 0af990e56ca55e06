"""Runs an exported network on the CPU with OpenVINO, which is installed where it is wanted (`pip install openvino`).

In float32 it is as fast as ONNX Runtime. It pays on a processor that computes in bfloat16, which ONNX Runtime does not
use.
"""

from importlib import import_module
from typing import Any

import numpy as np

from ml.encoder.card import ONNX_FILE, Card, EncoderCorrupt
from ml.runtime.load import Forward, Outputs, Precision, RuntimeUnavailable, cores, in_lanes
from ml.vectors import Floats

CAPABILITY = {"float32": "FP32", "bfloat16": "BF16"}
HINT = {"float32": "f32", "bfloat16": "bf16"}


def openvino_forward(card: Card, model: bytes, threads: int | None = None, precision: Precision = "float32") -> Forward:
    """Return `model` as a function, safe to call from many threads.

    `model` is an ONNX file with one input, and with one output or, where `card` has strangeness, two. The network is
    compiled twice: for a lonely picture, which has all threads, and for the parts of a batch, which have one each.
    Raises `EncoderCorrupt` where they do not fit `card`, `RuntimeUnavailable` without OpenVINO or such hardware.
    """
    try:
        openvino = import_module("openvino")
    except ImportError as error:
        raise RuntimeUnavailable("The runtime openvino needs the package openvino, which is not installed.") from error
    core = openvino.Core()
    if CAPABILITY[precision] not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise RuntimeUnavailable(f"This processor does not compute in {precision}.")
    try:
        network = core.read_model(model)
    except RuntimeError as error:
        raise EncoderCorrupt(f"{ONNX_FILE} is not a model that OpenVINO can load.") from error
    _check_sizes(network, card)
    lanes = threads or cores()
    settings = {"INFERENCE_PRECISION_HINT": HINT[precision], "INFERENCE_NUM_THREADS": lanes}
    alone = _run(core.compile_model(network, "CPU", settings | {"PERFORMANCE_HINT": "LATENCY"}))
    beside = alone if lanes == 1 else _run(core.compile_model(network, "CPU", settings | {"NUM_STREAMS": lanes}))
    return in_lanes(alone, beside, lanes)


def _run(compiled: Any) -> Forward:
    def run(pixels: Floats) -> Outputs:
        request = compiled.create_infer_request()  # a request serves one thread
        answers = request.infer([np.ascontiguousarray(pixels, dtype=np.float32)], share_inputs=True)
        return Outputs(*(answers[place] for place in range(len(compiled.outputs))))

    return run


def _check_sizes(network: Any, card: Card) -> None:
    sides = [3, card.preprocessing.height, card.preprocessing.width]
    answers = [[card.dim]] if card.strangeness is None else [[card.dim], []]
    if [_sizes(one) for one in network.inputs] != [sides] or [_sizes(one) for one in network.outputs] != answers:
        raise EncoderCorrupt(f"{ONNX_FILE} does not have the input and output sizes that the card gives.")


def _sizes(port: Any) -> list[int]:
    """The fixed sizes of an input or output, without the number of pictures; -1 where they are not fixed."""
    return [one.get_length() if one.is_static else -1 for one in list(port.get_partial_shape())[1:]]
