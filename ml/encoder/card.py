"""Model card of an encoder (`card.json`): network, preprocessing, labels, metrics, training data and file hashes."""

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal, TypeVar

from ml.formats.encoder_folder import (
    CARD_FORMAT,
    DATA_FILES,
    WEIGHTS_FILE,
    EncoderCorrupt,
    EncoderKind,
    Head,
    Pooling,
    parse_card,
    require_encoder_name,
    require_known_choices,
    require_supported,
)
from ml.formats.errors import InputError
from ml.images.preprocess import Preprocess
from ml.scoring.calibration import Calibration
from ml.scoring.match_confidence import MatchConfidence
from ml.scoring.ood import OodThreshold

ADDED_KEYS: Mapping[int, Mapping[str, Any]] = {
    2: {"head": "linear", "calibration": None, "strangeness": None},
    3: {"certainty": None},
}
"""The keys that each card format added, with their defaults for encoders of earlier formats."""

CARD_KEYS: Final = {"ood_threshold": "strangeness", "match_confidence": "certainty"}
"""Keys of `card.json` that differ from the names of `Card`'s fields; stored, so they stay."""

MAX_DIM = 65_536

T = TypeVar("T")


@dataclass(frozen=True)
class Card:
    """Metadata of an encoder. A card is validated by `card_from_json`, not by the constructor.

    `labels`: a classifier's labels in the order of its outputs; empty for a metric encoder. `dim`: length of the
    output. `metrics`: metrics by name (shares 0..1 unless the name says otherwise). `data`: description of the training
    photos; `data_sha256`: their hash (`ml.data.manifest.data_hash`). `software`: version by package name. `files`:
    SHA-256 by file name. `command`: the command line that built the encoder. `notes`: sentences about its limits.
    `head`: the layers after the pooling (`ml.encoder.network.build_head`). `calibration`: from a cosine to a
    probability; None for a classifier or if it was not fitted. `ood_threshold`: the OOD score above which a photo is
    not of clothes; None if the network has no OOD output. `match_confidence`: the probability that the first hit of a
    search is the right garment; None if it was not fitted.
    """

    name: str
    kind: EncoderKind
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
    ood_threshold: OodThreshold | None = None
    match_confidence: MatchConfidence | None = None
    format: int = CARD_FORMAT

    @property
    def identifier(self) -> str:
        """Name and start of the weights' hash, such as "lite0-pca100@3f9a0c51d2e4"; vectors and indexes carry it.

        Two encoders of one name have different vectors, and so different identifiers.
        """
        return f"{self.name}@{self.files.get(WEIGHTS_FILE, '')[:12]}"


def card_to_json(card: Card) -> str:
    """Return the card as JSON, keys in the order of the fields, so that equal cards are equal bytes."""
    entries = {CARD_KEYS.get(name, name): value for name, value in asdict(card).items()}
    if card.match_confidence is not None:
        entries["certainty"] = card.match_confidence.to_card()
    return json.dumps({"format": card.format} | entries, indent=2, ensure_ascii=False) + "\n"


def card_from_json(text: str) -> Card:
    """Parse and check a card of any origin; one of an earlier format is converted to the current one.

    Raises `EncoderIncompatible` for another format, kind, pooling, head or distance, `EncoderCorrupt` for any other
    problem.
    """
    return card_from_entries(parse_card(text))


def card_from_entries(entries: dict[str, Any]) -> Card:
    """Validate the entries of a `card.json` and return the card; see `card_from_json`."""
    card_format = require_supported(entries)
    for defaults in (keys for number, keys in ADDED_KEYS.items() if number > card_format):
        if unexpected := entries.keys() & defaults.keys():
            raise EncoderCorrupt(f"A card of format {card_format} has no entry {min(unexpected)!r}.", code="card_entry")
        entries = {**entries, **defaults}
    require_known_choices(entries)
    try:
        return _checked_card(entries)
    except (KeyError, TypeError, ValueError, OverflowError, InputError) as error:
        problem = f"the entry {error} is missing." if isinstance(error, KeyError) else str(error)
        raise EncoderCorrupt(f"The card is damaged: {problem}", code="card_entry") from error


def _checked_card(raw: dict[str, Any]) -> Card:
    unknown = raw.keys() - {CARD_KEYS.get(name, name) for name in Card.__dataclass_fields__}
    if unknown:
        raise ValueError(f"unknown entry {min(unknown)!r}.")
    return Card(
        name=require_encoder_name(_require_text(raw["name"])),
        kind=raw["kind"],
        backbone=_require_text(raw["backbone"]),
        pooling=raw["pooling"],
        dim=_require_dim(raw["dim"]),
        preprocessing=_parse_preprocess(raw["preprocessing"]),
        labels=_require_labels(raw),
        metrics=_require_mapping(_require_number, raw["metrics"]),
        data=_require_text(raw["data"]),
        data_sha256=_require_text(raw["data_sha256"]),
        software=_require_mapping(_require_text, raw["software"]),
        files=_require_file_hashes(raw["files"]),
        command=_require_text(raw["command"]),
        notes=tuple(_require_list(_require_text, raw["notes"])),
        head=raw["head"],
        calibration=_parse_calibration(raw["calibration"]),
        ood_threshold=_parse_ood_threshold(raw["strangeness"]),
        match_confidence=_parse_match_confidence(raw["certainty"]),
    )


def _require_labels(raw: dict[str, Any]) -> tuple[str, ...]:
    labels = tuple(_require_list(_require_text, raw["labels"]))
    if len(set(labels)) != len(labels) or len(labels) != (raw["dim"] if raw["kind"] == "classifier" else 0):
        raise ValueError(f"{len(labels)} labels do not fit a {raw['kind']} with {raw['dim']!r} outputs.")
    return labels


def _parse_preprocess(raw: Any) -> Preprocess:
    if not isinstance(raw, dict):
        raise TypeError("preprocessing is not an object.")
    mean, std = (_require_list(_require_number, raw[key]) for key in ("mean", "std"))
    values = raw | {"mean": tuple(mean), "std": tuple(std)}
    return Preprocess(**values)


def _parse_calibration(raw: Any) -> Calibration | None:
    if raw is None:
        return None
    cosines, probabilities = (tuple(_require_list(_require_number, raw[key])) for key in ("cosines", "probabilities"))
    return Calibration(**(raw | {"cosines": cosines, "probabilities": probabilities}))


def _parse_ood_threshold(raw: Any) -> OodThreshold | None:
    return None if raw is None else OodThreshold(**_require_mapping(_require_number, raw))


def _parse_match_confidence(raw: Any) -> MatchConfidence | None:
    return None if raw is None else MatchConfidence.from_card(raw | _require_mapping(_require_number, raw))


def _require_file_hashes(value: Any) -> dict[str, str]:
    files = _require_mapping(_require_text, value)
    if set(files) != set(DATA_FILES):
        raise ValueError(f"the files are {sorted(files)!r} instead of {', '.join(DATA_FILES)}.")
    if not all(re.fullmatch("[0-9a-f]{64}", digest) for digest in files.values()):
        raise ValueError("a sha256 is not 64 hexadecimal digits.")
    return files


def _require_dim(value: Any) -> int:
    if type(value) is not int or not 1 <= value <= MAX_DIM:
        raise ValueError(f"dim is {value!r} instead of a number from 1 to {MAX_DIM}.")
    return value


def _require_text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not text.")
    return value


def _require_number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise TypeError(f"{value!r} is not a finite number.")
    return value


def _require_list(check: Callable[[Any], T], value: Any) -> list[T]:
    if not isinstance(value, list):
        raise TypeError(f"{value!r} is not a list.")
    return [check(entry) for entry in value]


def _require_mapping(check: Callable[[Any], T], value: Any) -> dict[str, T]:
    if not isinstance(value, dict):
        raise TypeError(f"{value!r} is not an object.")
    return {key: check(entry) for key, entry in value.items()}
