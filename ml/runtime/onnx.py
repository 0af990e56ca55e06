"""Runs an exported network on the CPU with ONNX Runtime."""

import numpy as np
import onnxruntime

from ml.encoder.card import ONNX_FILE, Card, EncoderCorrupt
from ml.runtime.load import Forward, Outputs, cores, in_lanes
from ml.vectors import Floats

ERRORS_ONLY = 3


def onnx_forward(card: Card, model: bytes, threads: int | None = None) -> Forward:
    """Return `model` as a function, safe to call from many threads.

    `model` is an ONNX file with one input, and with one output or, where `card` has strangeness, two.
    Raises `EncoderCorrupt` where they do not fit `card`.

    The graph is optimised as far as it goes: batch norms, paddings and activations go into the convolutions, which run
    on blocks of channels. Without the arena a batch takes a third longer.
    """
    lanes = threads or cores()
    alone = _run(card, model, lanes)
    return in_lanes(alone, alone if lanes == 1 else _run(card, model, 1), lanes)


def _run(card: Card, model: bytes, threads: int) -> Forward:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = ERRORS_ONLY
    options.intra_op_num_threads = threads
    # Idle threads that spin save a millisecond on an idle machine. Where the web server wants the same cores each
    # picture takes twice as long with them.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime has a dozen exception classes without a common base
        raise EncoderCorrupt(f"{ONNX_FILE} is not a model that ONNX Runtime can load.") from error
    input_name = _checked_input_name(session, card)

    def run(pixels: Floats) -> Outputs:
        return Outputs(*session.run(None, {input_name: np.ascontiguousarray(pixels, dtype=np.float32)}))

    return run


def _checked_input_name(session: onnxruntime.InferenceSession, card: Card) -> str:
    inputs, outputs = session.get_inputs(), session.get_outputs()
    sides = [3, card.preprocessing.height, card.preprocessing.width]
    answers = [[card.dim]] if card.strangeness is None else [[card.dim], []]
    if [one.shape[1:] for one in inputs] != [sides] or [one.shape[1:] for one in outputs] != answers:
        raise EncoderCorrupt(f"{ONNX_FILE} does not have the input and output sizes that the card gives.")
    return str(inputs[0].name)
