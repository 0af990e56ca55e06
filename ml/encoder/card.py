"""The card of an encoder: what it is, how its input is prepared, how good it is, and the hash of each of its files."""

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, TypeVar, get_args

from ml.formats.errors import InputError
from ml.images.preprocess import Preprocess
from ml.scoring.calibration import Calibration
from ml.scoring.match_confidence import Certainty
from ml.scoring.ood import Strangeness

CARD_FORMAT = 3
"""The format this version writes."""

ADDED: Mapping[int, Mapping[str, Any]] = {
    2: {"head": "linear", "calibration": None, "strangeness": None},
    3: {"certainty": None},
}
"""The entries that came with a format, and what an encoder of an earlier one has of them."""

Kind = Literal["metric", "classifier"]
Pooling = Literal["mean", "gem"]
Head = Literal["linear", "hidden512", "parts"]

WEIGHTS_FILE = "weights.safetensors"
ONNX_FILE = "model.onnx"
FILE_NAMES = (WEIGHTS_FILE, ONNX_FILE)

CHOICES: dict[str, tuple[str, ...]] = {
    "kind": get_args(Kind),
    "pooling": get_args(Pooling),
    "head": get_args(Head),
    "distance": ("cosine",),
}

MAX_DIM = 65_536

T = TypeVar("T")


class EncoderError(InputError):
    """Base of the errors about encoder folders; not raised itself, except where a folder cannot be written."""


class EncoderIncompatible(EncoderError):
    """The folder is sound but of a format, kind or backbone that this version cannot read."""


class EncoderCorrupt(EncoderError):
    """The folder is damaged: a file is missing or changed, or the card is not what a card must be."""


@dataclass(frozen=True)
class Card:
    """Everything that is known about an encoder. `Card` values are checked when they are read, not when they are made.

    `labels`: what a classifier answers, in the order of its outputs; empty for a metric encoder. `dim`: length of its
    output. `metrics`: named figures (shares 0..1 unless the name says otherwise). `data`: the training photos in words,
    `data_sha256` their hash (`ml.data.manifest.data_hash`). `software`: version by package name. `files`: sha256 by
    file
    name. `command`: what was typed to build it. `notes`: sentences about how far to trust it. `head`: the layers behind
    the pooling (`ml.encoder.network.build_head`). `calibration`: from a cosine to a probability, for a metric encoder
    that has
    it. `strangeness`: from where on a photo is not of clothes; None means that the network has no such output.
    `certainty`: how likely the first answer of a search is the right one, for a metric encoder that has it.
    """

    name: str
    kind: Kind
    backbone: str
    pooling: Pooling
    dim: int
    preprocessing: Preprocess
    labels: tuple[str, ...] = ()
    distance: Literal["cosine"] = "cosine"
    metrics: Mapping[str, float] = field(default_factory=dict)
    data: str = ""
    data_sha256: str = ""
    software: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    command: str = ""
    notes: tuple[str, ...] = ()
    head: Head = "linear"
    calibration: Calibration | None = None
    strangeness: Strangeness | None = None
    certainty: Certainty | None = None
    format: int = CARD_FORMAT

    @property
    def identifier(self) -> str:
        """Name and weights in one word, such as "lite0-pca100@3f9a0c51d2e4": what vectors and indexes carry.

        Two encoders of one name have different vectors and so different identifiers.
        """
        return f"{self.name}@{self.files.get(WEIGHTS_FILE, '')[:12]}"


def card_to_json(card: Card) -> str:
    """Return the card as text, keys in the order of the fields, so that equal cards are equal bytes."""
    return json.dumps({"format": card.format} | asdict(card), indent=2, ensure_ascii=False) + "\n"


def card_from_json(text: str) -> Card:
    """Read a card that may come from anywhere. One of an earlier format is read as one of today's.

    Raises `EncoderIncompatible` for another format, kind, pooling, head or distance, `EncoderCorrupt` for anything
    amiss.
    """
    try:
        raw = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise EncoderCorrupt(f"The card is not valid JSON ({type(error).__name__}).") from error
    if not isinstance(raw, dict):
        raise EncoderCorrupt("The card is not a JSON object.")
    written = raw.get("format")
    if type(written) is not int or not 1 <= written <= CARD_FORMAT:
        raise EncoderIncompatible(f"The card has format {written!r}; this version reads 1 to {CARD_FORMAT}.")
    for added in (entries for number, entries in ADDED.items() if number > written):
        if later := raw.keys() & added.keys():
            raise EncoderCorrupt(f"A card of format {written} has no entry {min(later)!r}.")
        raw |= added
    for key, known in CHOICES.items():
        if raw.get(key) not in known:
            raise EncoderIncompatible(f"The card's {key} is {raw.get(key)!r}; this version knows {', '.join(known)}.")
    try:
        return _checked(raw)
    except (KeyError, TypeError, ValueError, OverflowError, InputError) as error:
        raise EncoderCorrupt(f"The card is damaged: {_in_words(error)}") from error


def _checked(raw: dict[str, Any]) -> Card:
    unknown = raw.keys() - Card.__dataclass_fields__.keys()
    if unknown:
        raise ValueError(f"unknown entry {min(unknown)!r}.")
    return Card(
        name=checked_name(raw["name"]),
        kind=raw["kind"],
        backbone=_text(raw["backbone"]),
        pooling=raw["pooling"],
        dim=_dim(raw["dim"]),
        preprocessing=_preprocess(raw["preprocessing"]),
        labels=_labels(raw),
        metrics=_mapping_of(_number, raw["metrics"]),
        data=_text(raw["data"]),
        data_sha256=_text(raw["data_sha256"]),
        software=_mapping_of(_text, raw["software"]),
        files=_files(raw["files"]),
        command=_text(raw["command"]),
        notes=tuple(_list_of(_text, raw["notes"])),
        head=raw["head"],
        calibration=_calibration(raw["calibration"]),
        strangeness=_strangeness(raw["strangeness"]),
        certainty=_certainty(raw["certainty"]),
    )


def _labels(raw: dict[str, Any]) -> tuple[str, ...]:
    labels = tuple(_list_of(_text, raw["labels"]))
    if len(set(labels)) != len(labels) or len(labels) != (raw["dim"] if raw["kind"] == "classifier" else 0):
        raise ValueError(f"{len(labels)} labels do not fit a {raw['kind']} with {raw['dim']!r} outputs.")
    return labels


def _preprocess(raw: Any) -> Preprocess:
    if not isinstance(raw, dict):
        raise TypeError("preprocessing is not an object.")
    mean, std = (_list_of(_number, raw[key]) for key in ("mean", "std"))
    values = raw | {"mean": tuple(mean), "std": tuple(std)}
    return Preprocess(**values)


def _calibration(raw: Any) -> Calibration | None:
    if raw is None:
        return None
    cosines, probabilities = (tuple(_list_of(_number, raw[key])) for key in ("cosines", "probabilities"))
    return Calibration(**(raw | {"cosines": cosines, "probabilities": probabilities}))


def _strangeness(raw: Any) -> Strangeness | None:
    return None if raw is None else Strangeness(**_mapping_of(_number, raw))


def _certainty(raw: Any) -> Certainty | None:
    return None if raw is None else Certainty(**(raw | _mapping_of(_number, raw)))


def checked_name(value: Any) -> str:
    """Return the name of an encoder: a word for folders and messages. Raises `ValueError` or `TypeError`."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", _text(value)):
        raise ValueError(f"the name {value!r} is not made of letters, digits, dot, dash and underscore.")
    return str(value)


def _files(value: Any) -> dict[str, str]:
    files = _mapping_of(_text, value)
    if set(files) != set(FILE_NAMES):
        raise ValueError(f"the files are {sorted(files)!r} instead of {', '.join(FILE_NAMES)}.")
    if not all(re.fullmatch("[0-9a-f]{64}", digest) for digest in files.values()):
        raise ValueError("a sha256 is not 64 hexadecimal digits.")
    return files


def _dim(value: Any) -> int:
    if type(value) is not int or not 1 <= value <= MAX_DIM:
        raise ValueError(f"dim is {value!r} instead of a number from 1 to {MAX_DIM}.")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not text.")
    return value


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise TypeError(f"{value!r} is not a finite number.")
    return value


def _list_of(check: Callable[[Any], T], value: Any) -> list[T]:
    if not isinstance(value, list):
        raise TypeError(f"{value!r} is not a list.")
    return [check(entry) for entry in value]


def _mapping_of(check: Callable[[Any], T], value: Any) -> dict[str, T]:
    if not isinstance(value, dict):
        raise TypeError(f"{value!r} is not an object.")
    return {key: check(entry) for key, entry in value.items()}


def _in_words(error: Exception) -> str:
    return f"the entry {error} is missing." if isinstance(error, KeyError) else str(error)
