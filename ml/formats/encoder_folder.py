"""The encoder folder format: file names, the checks of a folder and of its card, and the pattern of encoder names.

    card.json            describes the encoder (`ml.encoder.card.Card`)
    weights.safetensors  the weights under the names of `ml.encoder.network`, for torch and for further training
    model.onnx           the same network for ONNX Runtime: pictures (n, 3, h, w) to outputs (n, dim)

A folder may come from anywhere: the file names are fixed here and never taken from the card, links are not followed,
and sizes are limited. Standard library only, so that the website can check folders too.
"""

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, get_args

from ml.formats.errors import InputError

CARD_FILE = "card.json"
WEIGHTS_FILE = "weights.safetensors"
ONNX_FILE = "model.onnx"
DATA_FILES = (WEIGHTS_FILE, ONNX_FILE)
"""The files whose SHA-256 the card lists."""

FOLDER_FILES = (CARD_FILE, *DATA_FILES)

CARD_FORMAT = 3
"""The card format that this version writes; it also reads all earlier formats."""

MAX_CARD_BYTES = 1 << 20
MAX_FILE_BYTES = 1 << 30

EncoderKind = Literal["metric", "classifier"]
Pooling = Literal["mean", "gem"]
Head = Literal["linear", "hidden512", "parts"]
EfficientNetLiteName = Literal["efficientnet-lite0", "efficientnet-lite1", "efficientnet-lite2"]
ResNetName = Literal["resnet18", "resnet34", "resnet50"]
BackboneName = Literal[EfficientNetLiteName, ResNetName]
BACKBONES: tuple[BackboneName, ...] = (*get_args(EfficientNetLiteName), *get_args(ResNetName))

CHOICES: Mapping[str, tuple[str, ...]] = {
    "kind": get_args(EncoderKind),
    "pooling": get_args(Pooling),
    "head": get_args(Head),
    "distance": ("cosine",),
}

NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class EncoderError(InputError):
    """Base of the errors about encoder folders; raised itself only if a folder cannot be written."""

    code = "encoder_error"


class EncoderIncompatible(EncoderError):
    """The folder is sound, but of a format, kind or backbone that this version cannot read."""

    code = "encoder_incompatible"


class EncoderCorrupt(EncoderError):
    """The folder is damaged: a file is missing or changed, or the card is malformed."""

    code = "encoder_corrupt"


def is_encoder_name(name: str) -> bool:
    """Return whether `name` consists of 1 to 100 letters, digits, dots, dashes and underscores (a safe folder name)."""
    return bool(NAME_PATTERN.fullmatch(name))


def require_encoder_name(name: str) -> str:
    """Return `name`. Raises `EncoderError` for a name that `is_encoder_name` rejects."""
    if not is_encoder_name(name):
        raise EncoderError(
            f"{name!r} is not an encoder name: use 1 to 100 letters, digits, dots, dashes and underscores.",
            code="encoder_name",
        )
    return name


def parse_card(text: str | bytes) -> dict[str, Any]:
    """Return the entries of a card without validating them. Raises `EncoderCorrupt` if `text` is not a JSON object."""
    try:
        entries = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise EncoderCorrupt(f"The card is not valid JSON ({type(error).__name__}).", code="card_json") from error
    if not isinstance(entries, dict):
        raise EncoderCorrupt("The card is not a JSON object.", code="card_json")
    return entries


def require_supported(entries: Mapping[str, Any]) -> int:
    """Return the format of a card. Raises `EncoderIncompatible` for a format this version does not read."""
    number = entries.get("format")
    if type(number) is not int or not 1 <= number <= CARD_FORMAT:
        raise EncoderIncompatible(
            f"The card has format {number!r}; this version reads 1 to {CARD_FORMAT}.", code="card_format"
        )
    return number


def require_known_choices(entries: Mapping[str, Any]) -> None:
    """Raise `EncoderIncompatible` for a kind, pooling, head or distance that this version does not support."""
    for key, choices in CHOICES.items():
        if entries.get(key) not in choices:
            value = entries.get(key)
            raise EncoderIncompatible(
                f"The card's {key} is {value!r}; this version supports {', '.join(choices)}.", code="card_choice"
            )


def read_card_entries(folder: Path) -> dict[str, Any]:
    """Return the entries of the card in `folder`, as `parse_card` does. Raises `EncoderCorrupt`."""
    if not folder.is_dir():
        raise EncoderCorrupt(f"There is no encoder folder {str(folder)!r}.", code="folder_missing")
    content = read_file(folder, CARD_FILE)
    try:
        return parse_card(content.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise EncoderCorrupt(f"The card in {str(folder)!r} is not UTF-8 text.", code="card_encoding") from error


def read_file(folder: Path, name: str) -> bytes:
    """Return the content of one file of `folder`. Raises `EncoderCorrupt`."""
    path = require_file(folder, name)
    try:
        return path.read_bytes()
    except OSError as error:
        raise EncoderCorrupt(
            f"{name} in {str(folder)!r} cannot be read: {error.strerror}.", code="unreadable"
        ) from error


def require_file(folder: Path, name: str) -> Path:
    """Return the path of a plain file of limited size. Raises `EncoderCorrupt`, for a link too: it could lead to any
    file, or to a device that never ends.
    """
    path = folder / name
    limit = MAX_CARD_BYTES if name == CARD_FILE else MAX_FILE_BYTES
    try:
        if path.is_symlink() or not path.is_file():
            raise EncoderCorrupt(f"The encoder folder {str(folder)!r} has no file {name}.", code="file_missing")
        if path.stat().st_size > limit:
            raise EncoderCorrupt(
                f"{name} in {str(folder)!r} is larger than the {limit} bytes allowed.", code="file_too_large"
            )
    except OSError as error:
        raise EncoderCorrupt(
            f"{name} in {str(folder)!r} cannot be read: {error.strerror}.", code="unreadable"
        ) from error
    return path


def read_verified(folder: Path, name: str, sha256: str | None) -> bytes:
    """Return the content of a file after checking its hash against `sha256`. Raises `EncoderCorrupt`."""
    content = read_file(folder, name)
    if hashlib.sha256(content).hexdigest() != sha256:
        raise EncoderCorrupt(
            f"{name} in {str(folder)!r} is not the file that the card describes: its sha256 differs.", code="sha256"
        )
    return content


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal, read in blocks. Raises `OSError`."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_files(folder: Path, sha256: Callable[[Path], str] = file_sha256) -> dict[str, str]:
    """Return the SHA-256 of `DATA_FILES` by name. Raises `EncoderCorrupt` for a missing file, or `OSError`."""
    return {name: sha256(require_file(folder, name)) for name in DATA_FILES}
