"""Checkpoints: all that a run needs to go on after `kill -9` as if nothing had happened.

Written whole at the end of each epoch. Every draw of an epoch follows from the seed and the epoch's number, so the
state of no random generator belongs to it. Read with `weights_only`: tensors and plain values, no code.
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
    """A run cannot be resumed: its checkpoint is damaged, or was made with other options or photos."""


def save_checkpoint(path: Path, state: Mapping[str, Any]) -> None:
    """Write `state` (tensors, numbers, texts, in dicts and lists). Raises `UnwritableError`."""
    buffer = io.BytesIO()  # torch makes a RuntimeError of a full disk
    torch.save(dict(state) | {"format": CHECKPOINT_FORMAT}, buffer)
    with atomic_write(path) as file:
        file.write(buffer.getbuffer())


def load_checkpoint(path: Path, about: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `save_checkpoint` wrote, if its "about" agrees with `about`. Raises `CheckpointError`."""
    try:
        state: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged bytes make torch raise anything from KeyError to RuntimeError
        raise CheckpointError(f"The checkpoint {path.name!r} cannot be read; start the run anew.") from error
    if not isinstance(state, dict) or state.get("format") != CHECKPOINT_FORMAT:
        raise CheckpointError(f"The checkpoint {path.name!r} has another format; start the run anew.")
    for name, value in about.items():
        _require_same(name, state["about"].get(name), value)
    return state


def _require_same(name: str, then: Any, now: Any) -> None:
    if then == now:
        return
    if isinstance(then, Mapping) and isinstance(now, Mapping):
        for key in sorted(then.keys() | now.keys()):
            if then.get(key) != now.get(key):
                text = f"The run was started with {key} {then.get(key)!r}, not {now.get(key)!r}"
                raise CheckpointError(f"{text}; resume it with the same.")
    raise CheckpointError(f"The run was started with other {name}; resume it with the same.")
