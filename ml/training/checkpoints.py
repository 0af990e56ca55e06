"""Checkpoints: the state from which a killed run continues with the same results.

Written atomically at the end of each epoch. Every random draw of an epoch follows from the seed and the epoch's number,
so no generator state is stored. Read with `weights_only`: tensors and plain values, no code.
"""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ml.formats.atomic_files import atomic_write
from ml.formats.errors import InputError

CHECKPOINT_FORMAT = 1


class CheckpointError(InputError):
    """A run cannot be resumed: its checkpoint is damaged, or belongs to other options or photos."""

    code = "checkpoint_unreadable"


def save_checkpoint(path: Path, state: Mapping[str, Any]) -> None:
    """Write `state` (tensors, numbers, texts, in dicts and lists) atomically. Raises `UnwritableError`."""
    buffer = io.BytesIO()  # torch raises a RuntimeError for a full disk
    torch.save(dict(state) | {"format": CHECKPOINT_FORMAT}, buffer)
    with atomic_write(path) as file:
        file.write(buffer.getbuffer())


def load_checkpoint(path: Path, fingerprint: Mapping[str, Any]) -> dict[str, Any]:
    """Return the state that `save_checkpoint` wrote.

    Raises `CheckpointError` for an unreadable file, and where an entry of `fingerprint` differs from the stored one.
    """
    try:
        state: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged bytes make torch raise anything from KeyError to RuntimeError
        raise CheckpointError(f"The checkpoint {path.name!r} is damaged; remove it and start again.") from error
    if not isinstance(state, dict) or state.get("format") != CHECKPOINT_FORMAT:
        message = f"The checkpoint {path.name!r} has another format; remove it and start again."
        raise CheckpointError(message, code="checkpoint_format")
    for name, value in fingerprint.items():
        _require_equal(name, state["about"].get(name), value)
    return state


def _require_equal(name: str, stored: Any, current: Any) -> None:
    if stored == current:
        return
    message = f"The run was started with other {name}"
    if isinstance(stored, Mapping) and isinstance(current, Mapping):
        key = next(key for key in sorted(stored.keys() | current.keys()) if stored.get(key) != current.get(key))
        message = f"The run was started with {key} {stored.get(key)!r}, not {current.get(key)!r}"
    raise CheckpointError(f"{message}; resume the run with the same options and photos.", code="checkpoint_mismatch")
