"""The encoders that this process has loaded."""

from pathlib import Path
from threading import Lock
from typing import Literal, cast

from django.conf import settings

from catalog.models import Encoder
from ml.embedder import Embedder, load_embedder

_KEPT = 2  # the live one, and a candidate that embeds the catalogue beside it

_loaded: dict[tuple[Path, str], Embedder] = {}  # by folder and hashes: a name may come again with other files
_lock = Lock()


def _runtime() -> Literal["auto", "onnx", "torch"]:
    return cast(Literal["auto", "onnx", "torch"], settings.EMBEDDER_RUNTIME)  # the settings let nothing else through


def embedder_of(encoder: Encoder) -> Embedder:
    """The network of an encoder, loaded once per process; the two used last are kept.

    Raises `ml.errors.InputError` for an unusable folder.
    """
    with _lock:
        folder = encoder.folder
        key = (folder, str(encoder.card.get("files")))
        embedder = _loaded.pop(key, None) or load_embedder(folder, _runtime())
        while len(_loaded) >= _KEPT:
            _loaded.pop(next(iter(_loaded)))
        _loaded[key] = embedder
        return embedder
