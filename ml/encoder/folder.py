"""The encoder folder: how a trained network is stored, moved and checked. Reads and writes no pickle, imports no torch.

    card.json            what the encoder is (`Card`)
    weights.safetensors  its weights under the names of `ml.encoder.network`, for torch and for training on
    model.onnx           the same network for ONNX Runtime: pictures (n, 3, h, w) to outputs (n, dim)

A folder may come from anywhere: the names of its files are fixed here and never taken from the card, links are not
followed, sizes are bounded, and `check_folder` compares every byte with the card.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import safetensors.numpy
from safetensors import SafetensorError

from ml.encoder.card import (
    FILE_NAMES,
    ONNX_FILE,
    WEIGHTS_FILE,
    Card,
    EncoderCorrupt,
    EncoderError,
    EncoderIncompatible,
    card_from_json,
    card_to_json,
)
from ml.formats.atomic_files import atomic_folder

__all__ = [
    "Card",
    "EncoderCorrupt",
    "EncoderError",
    "EncoderIncompatible",
    "check_folder",
    "read_card",
    "read_onnx",
    "read_weights",
    "weights_file",
    "write_encoder",
]

CARD_FILE = "card.json"
MAX_CARD_BYTES = 1 << 20
MAX_FILE_BYTES = 1 << 30


def read_card(folder: Path) -> Card:
    """Read and check `card.json` alone: quick, and says nothing about the other files.

    Raises `EncoderIncompatible` or `EncoderCorrupt`.
    """
    if not folder.is_dir():
        raise EncoderCorrupt(f"There is no encoder folder {str(folder)!r}.")
    text = _read(folder, CARD_FILE, MAX_CARD_BYTES)
    try:
        return card_from_json(text.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise EncoderCorrupt(f"The card in {str(folder)!r} is not UTF-8 text.") from error


def check_folder(folder: Path) -> Card:
    """Read the card and compare the sha256 of each file with it.

    Raises `EncoderIncompatible`, or `EncoderCorrupt` for a missing file or a changed byte.
    """
    card = read_card(folder)
    for name in FILE_NAMES:
        _read_listed(folder, card, name)
    return card


def read_onnx(folder: Path, card: Card) -> bytes:
    """Return the bytes of `model.onnx`, which are those that `card` vouches for. Raises `EncoderCorrupt`."""
    return _read_listed(folder, card, ONNX_FILE)


def read_weights(folder: Path, card: Card) -> dict[str, npt.NDArray[np.floating]]:
    """Return the weights by name, as stored (float16 or float32), once they match `card`. Raises `EncoderCorrupt`."""
    data = _read_listed(folder, card, WEIGHTS_FILE)
    try:
        return safetensors.numpy.load(data)
    except (SafetensorError, KeyError, ValueError) as error:
        raise EncoderCorrupt(f"{WEIGHTS_FILE} in {str(folder)!r} is not a safetensors file.") from error


def weights_file(weights: Mapping[str, npt.NDArray[np.floating]]) -> bytes:
    """Return the content of `weights.safetensors`."""
    # safetensors stores the memory as it lies, and that of a network trained with channels last lies in another order.
    return safetensors.numpy.save({name: np.ascontiguousarray(array) for name, array in weights.items()})


def write_encoder(folder: Path, card: Card, weights: Mapping[str, npt.NDArray[np.floating]], onnx_model: bytes) -> Card:
    """Write an encoder folder as a whole or not at all, and return its card with the hashes filled in.

    Everything goes to `folder` + ".part" first, reaches the disk, and is renamed. What an interrupted attempt left
    there is removed. Raises `EncoderError` if `folder` exists, the disk does not take it or
    the card is not one that `read_card` would accept.
    """
    if folder.exists():
        raise EncoderError(f"{str(folder)!r} exists already; remove it or choose another folder.")
    contents = {WEIGHTS_FILE: weights_file(weights), ONNX_FILE: onnx_model}
    complete = replace(card, files={name: _sha256(data) for name, data in contents.items()})
    card_from_json(card_to_json(complete))  # what could not be read back is not written
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with atomic_folder(folder, fsync=True) as part:
            for name, data in (contents | {CARD_FILE: card_to_json(complete).encode()}).items():
                (part / name).write_bytes(data)
    except OSError as error:
        raise EncoderError(f"Cannot write the encoder to {str(folder)!r}: {error.strerror or error}.") from error
    return complete


def _read_listed(folder: Path, card: Card, name: str) -> bytes:
    data = _read(folder, name, MAX_FILE_BYTES)
    if _sha256(data) != card.files[name]:
        raise EncoderCorrupt(f"{name} in {str(folder)!r} is not the file that the card describes: its sha256 differs.")
    return data


def _read(folder: Path, name: str, limit: int) -> bytes:
    """Read a file that lies in `folder` itself: a link could lead anywhere, to a device that never ends for one."""
    path = folder / name
    try:
        if path.is_symlink() or not path.is_file():
            raise EncoderCorrupt(f"The encoder folder {str(folder)!r} has no file {name}.")
        if path.stat().st_size > limit:
            raise EncoderCorrupt(f"{name} in {str(folder)!r} is larger than the {limit} bytes allowed.")
        return path.read_bytes()
    except OSError as error:
        raise EncoderCorrupt(f"{name} in {str(folder)!r} cannot be read: {error.strerror}.") from error


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
