"""The encoders that this process has loaded."""

from pathlib import Path
from threading import Lock
from typing import Literal, cast

from django.conf import settings

from catalog.models import Encoder
from ml.embedder import Embedder, load_embedder

_KEPT = 2  # the live one, and a candidate that embeds the catalogue beside it

_loaded: dict[Path, Embedder] = {}
_lock = Lock()


def _runtime() -> Literal["auto", "onnx", "torch"]:
    return cast(Literal["auto", "onnx", "torch"], settings.EMBEDDER_RUNTIME)  # the settings let nothing else through


def embedder_of(encoder: Encoder) -> Embedder:
    """The network of an encoder, loaded once per process. Raises `ml.errors.InputError` for an unusable folder."""
    with _lock:
        folder = encoder.folder
        if folder not in _loaded:
            while len(_loaded) >= _KEPT:
                _loaded.pop(next(iter(_loaded)))  # the one loaded first
            _loaded[folder] = load_embedder(folder, _runtime())
        return _loaded[folder]
