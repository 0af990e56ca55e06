"""Run an exported network on the CPU with ONNX Runtime."""

import numpy as np
import onnxruntime

from ml.encoder.card import Card
from ml.formats.encoder_folder import ONNX_FILE, EncoderCorrupt
from ml.runtime.types import Forward, Outputs, available_cores, require_card_sizes, sharded
from ml.vectors import Floats

ERRORS_ONLY = 3


def onnx_forward(card: Card, model: bytes, threads: int | None = None) -> Forward:
    """Return `model` as a thread-safe function.

    `model` is an ONNX file with one input, and one output, or two if `card` has an OOD threshold.
    Raises `EncoderCorrupt` if they do not fit `card`.

    ONNX Runtime optimises the graph fully: batch norms, paddings and activations are fused into the convolutions, which
    run on blocks of channels. Without the memory arena a batch takes a third longer.
    """
    workers = threads or available_cores()
    single = _session_forward(card, model, workers)
    return sharded(single, single if workers == 1 else _session_forward(card, model, 1), workers)


def _session_forward(card: Card, model: bytes, threads: int) -> Forward:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = ERRORS_ONLY
    options.intra_op_num_threads = threads
    # Idle threads that spin save a millisecond on an idle machine. Where the web server wants the same cores each
    # picture takes twice as long with them.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime has a dozen exception classes without a common base
        raise EncoderCorrupt(
            f"{ONNX_FILE} is not a model that ONNX Runtime can load.", code="onnx_unreadable"
        ) from error
    input_name = _checked_input_name(session, card)

    def run(pixels: Floats) -> Outputs:
        return Outputs(*session.run(None, {input_name: np.ascontiguousarray(pixels, dtype=np.float32)}))

    return run


def _checked_input_name(session: onnxruntime.InferenceSession, card: Card) -> str:
    inputs, outputs = session.get_inputs(), session.get_outputs()
    input_sizes, output_sizes = ([port.shape[1:] for port in ports] for ports in (inputs, outputs))
    require_card_sizes(card, input_sizes, output_sizes)
    return str(inputs[0].name)
