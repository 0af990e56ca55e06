"""Read, verify and write encoder folders (`ml.formats.encoder_folder`). Uses neither pickle nor torch."""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import safetensors.numpy
from safetensors import SafetensorError

from ml.encoder.card import Card, card_from_entries, card_from_json, card_to_json
from ml.formats.atomic_files import atomic_folder
from ml.formats.encoder_folder import (
    CARD_FILE,
    DATA_FILES,
    ONNX_FILE,
    WEIGHTS_FILE,
    EncoderCorrupt,
    EncoderError,
    read_card_entries,
    read_verified,
)


def read_card(folder: Path) -> Card:
    """Read and validate `card.json`, without a check of the other files.

    Raises `EncoderIncompatible` or `EncoderCorrupt`.
    """
    return card_from_entries(read_card_entries(folder))


def check_folder(folder: Path) -> Card:
    """Read the card and compare the SHA-256 of each file with it.

    Raises `EncoderIncompatible`, or `EncoderCorrupt` for a missing file or a changed byte.
    """
    card = read_card(folder)
    for name in DATA_FILES:
        read_verified(folder, name, card.files[name])
    return card


def read_onnx(folder: Path, card: Card) -> bytes:
    """Return the bytes of `model.onnx` once they match the hash in `card`. Raises `EncoderCorrupt`."""
    return read_verified(folder, ONNX_FILE, card.files[ONNX_FILE])


def read_weights(folder: Path, card: Card) -> dict[str, npt.NDArray[np.floating]]:
    """Return the weights by name, as stored (float16 or float32), once they match `card`. Raises `EncoderCorrupt`."""
    data = read_verified(folder, WEIGHTS_FILE, card.files[WEIGHTS_FILE])
    try:
        return safetensors.numpy.load(data)
    except (SafetensorError, KeyError, ValueError) as error:
        raise EncoderCorrupt(
            f"{WEIGHTS_FILE} in {str(folder)!r} is not a safetensors file.", code="weights_unreadable"
        ) from error


def serialize_weights(weights: Mapping[str, npt.NDArray[np.floating]]) -> bytes:
    """Return the content of `weights.safetensors`."""
    # safetensors stores the raw memory, whose order differs in a network trained with channels last.
    return safetensors.numpy.save({name: np.ascontiguousarray(array) for name, array in weights.items()})


def write_encoder(folder: Path, card: Card, weights: Mapping[str, npt.NDArray[np.floating]], onnx_model: bytes) -> Card:
    """Write an encoder folder atomically and return its card with the hashes filled in.

    Everything is written to `folder` + ".part", flushed to the disk, and renamed; a ".part" of an interrupted attempt
    is removed. Raises `EncoderError` if `folder` exists or the disk fails, and if `read_card` would reject the card.
    """
    if folder.exists():
        raise EncoderError(f"{str(folder)!r} exists already; remove it or choose another folder.", code="folder_exists")
    contents = {WEIGHTS_FILE: serialize_weights(weights), ONNX_FILE: onnx_model}
    complete = replace(card, files={name: hashlib.sha256(data).hexdigest() for name, data in contents.items()})
    card_from_json(card_to_json(complete))  # refuse to write an invalid card
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with atomic_folder(folder, fsync=True) as part:
            for name, data in (contents | {CARD_FILE: card_to_json(complete).encode()}).items():
                (part / name).write_bytes(data)
    except OSError as error:
        raise EncoderError(
            f"Cannot write the encoder to {str(folder)!r}: {error.strerror or error}.", code="folder_unwritable"
        ) from error
    return complete
