"""Whether a whole encoder folder may be used: more than its hashes, which only say that nobody changed it since.

Loads neither torch nor pickle. The network is run once, by ONNX Runtime.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

import numpy as np
import numpy.typing as npt

from ml.backbone_names import BackboneName
from ml.encoder.card import ONNX_FILE, WEIGHTS_FILE, Card, EncoderCorrupt, EncoderIncompatible, Head
from ml.encoder.folder import check_folder, read_onnx, read_weights
from ml.runtime.load import Outputs

LAST_LAYER: Mapping[Head, str] = {"linear": "head", "hidden512": "head.3", "parts": "head.layer"}
"""Where `ml.encoder.network` keeps the layer that gives the outputs."""


def check_encoder(folder: Path, threads: int | None = None) -> Card:
    """Return the card of a folder from anywhere once its files, its weights and its network fit it.

    Raises `EncoderIncompatible` for what this version cannot read, `EncoderCorrupt` for anything amiss.
    """
    card = check_folder(folder)
    known = [name for group in get_args(BackboneName) for name in (get_args(group) or (group,))]
    if card.backbone not in known:
        raise EncoderIncompatible(f"This version does not know the backbone {card.backbone!r}.")
    _check_weights(card, read_weights(folder, card))
    model = read_onnx(folder, card)
    _refuse_other_files(model)
    _check_outputs(card, _asked_once(card, model, threads))
    return card


def _check_weights(card: Card, weights: Mapping[str, npt.NDArray[np.floating]]) -> None:
    last = weights.get(f"{LAST_LAYER[card.head]}.weight", np.empty(()))
    if last.shape[:1] != (card.dim,):
        raise EncoderCorrupt(f"The last layer in {WEIGHTS_FILE} does not have the {card.dim} outputs of the card.")
    for name, array in weights.items():
        if array.dtype not in (np.float16, np.float32) or not np.isfinite(array).all():
            raise EncoderCorrupt(f"{WEIGHTS_FILE} holds numbers under {name!r} that are no weights.")


def _refuse_other_files(model: bytes) -> None:
    """ONNX can take its numbers from files beside it, which are whatever lies there on the machine that runs it."""
    import onnx  # not needed to embed, so not loaded with this module

    try:
        graph = onnx.load_model_from_string(model)
    except Exception as error:  # protobuf's own class, which onnx does not name
        raise EncoderCorrupt(f"{ONNX_FILE} is not an ONNX model.") from error
    if any(tensor.external_data or tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in _tensors(graph)):
        raise EncoderCorrupt(f"{ONNX_FILE} takes numbers from other files.")


def _tensors(message: Any) -> Iterator[Any]:
    """Every tensor in a message of ONNX, however deep."""
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        for part in value if isinstance(value, list) or hasattr(value, "add") else [value]:
            if field.message_type.name == "TensorProto":
                yield part
            yield from _tensors(part)


def _asked_once(card: Card, model: bytes, threads: int | None) -> Outputs:
    from ml.runtime.onnx import onnx_forward

    forward = onnx_forward(card, model, threads)
    grey = np.zeros((1, 3, card.preprocessing.height, card.preprocessing.width), dtype=np.float32)
    try:
        return forward(grey)
    except Exception as error:  # as many classes as reasons
        raise EncoderCorrupt(f"{ONNX_FILE} fails on a plain grey picture.") from error


def _check_outputs(card: Card, answer: Outputs) -> None:
    if answer.outputs.shape != (1, card.dim):
        raise EncoderCorrupt(f"{ONNX_FILE} answers with {answer.outputs.shape[-1]} numbers; the card says {card.dim}.")
    if not np.isfinite(answer.outputs).all():
        raise EncoderCorrupt(f"{ONNX_FILE} answers a plain grey picture with numbers that are not finite.")
