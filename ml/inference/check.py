"""Check that an encoder folder of any origin is usable: hashes, weights, ONNX graph and one run of the network.

Loads neither torch nor pickle; ONNX Runtime runs the network.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ml.encoder.card import Card
from ml.encoder.folder import check_folder, read_onnx, read_weights
from ml.formats.encoder_folder import BACKBONES, ONNX_FILE, WEIGHTS_FILE, EncoderCorrupt, EncoderIncompatible, Head
from ml.runtime.types import Outputs

LAST_LAYER: Mapping[Head, str] = {"linear": "head", "hidden512": "head.3", "parts": "head.layer"}
"""Name of the output layer in `ml.encoder.network`."""


def check_encoder(folder: Path, threads: int | None = None) -> Card:
    """Return the card of a folder once its files, its weights and its network fit the card.

    Raises `EncoderIncompatible` for a format or backbone this version cannot read, `EncoderCorrupt` for other faults.
    """
    card = check_folder(folder)
    if card.backbone not in BACKBONES:
        raise EncoderIncompatible(
            f"This version does not support the backbone {card.backbone!r}.", code="backbone_unknown"
        )
    _check_weights(card, read_weights(folder, card))
    model = read_onnx(folder, card)
    _refuse_external_data(model)
    _check_outputs(card, _run_on_grey(card, model, threads))
    return card


def _check_weights(card: Card, weights: Mapping[str, npt.NDArray[np.floating]]) -> None:
    last = weights.get(f"{LAST_LAYER[card.head]}.weight", np.empty(()))
    if last.shape[:1] != (card.dim,):
        raise EncoderCorrupt(
            f"The last layer in {WEIGHTS_FILE} does not have {card.dim} outputs, the `dim` of the card.",
            code="weights_dim",
        )
    for name, array in weights.items():
        if array.dtype not in (np.float16, np.float32) or not np.isfinite(array).all():
            raise EncoderCorrupt(
                f"{WEIGHTS_FILE} holds numbers under {name!r} that are not finite floats.", code="weights_not_finite"
            )


def _refuse_external_data(model: bytes) -> None:
    """Refuse tensors with external data: ONNX would read other files of the machine that runs the model."""
    import onnx  # only this check needs it

    try:
        graph = onnx.load_model_from_string(model)
    except Exception as error:  # protobuf's own class, which onnx does not export
        raise EncoderCorrupt(f"{ONNX_FILE} is not an ONNX model.", code="onnx_unreadable") from error
    if any(tensor.external_data or tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in _tensors(graph)):
        raise EncoderCorrupt(
            f"{ONNX_FILE} refers to external data files; store all tensors in the model file.",
            code="onnx_external_data",
        )


def _tensors(message: Any) -> Iterator[Any]:
    """Yield every tensor in an ONNX message, at any depth."""
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        for part in value if isinstance(value, list) or hasattr(value, "add") else [value]:
            if field.message_type.name == "TensorProto":
                yield part
            yield from _tensors(part)


def _run_on_grey(card: Card, model: bytes, threads: int | None) -> Outputs:
    from ml.runtime.onnx import onnx_forward

    forward = onnx_forward(card, model, threads)
    grey = np.zeros((1, 3, card.preprocessing.height, card.preprocessing.width), dtype=np.float32)
    try:
        return forward(grey)
    except Exception as error:  # ONNX Runtime's classes have no common base
        raise EncoderCorrupt(f"{ONNX_FILE} fails on a plain grey picture.", code="onnx_run_failed") from error


def _check_outputs(card: Card, outputs: Outputs) -> None:
    if outputs.outputs.shape != (1, card.dim):
        raise EncoderCorrupt(
            f"{ONNX_FILE} returns {outputs.outputs.shape[-1]} numbers per picture; the card has the `dim` {card.dim}.",
            code="onnx_sizes",
        )
    if not np.isfinite(outputs.outputs).all():
        raise EncoderCorrupt(
            f"{ONNX_FILE} returns numbers that are not finite for a plain grey picture.", code="outputs_not_finite"
        )
