"""The encoders that this process has loaded."""

from dataclasses import replace
from pathlib import Path
from threading import Lock
from typing import cast

from django.conf import settings

from catalog.models import Encoder
from ml.inference.embedder import Embedder, load_embedder
from ml.runtime.types import Precision, RuntimeChoice, available_cores
from worker.encoders.batcher import Joined

_KEPT = 2  # the live one, and a candidate that embeds the catalogue beside it

_loaded: dict[tuple[Path, str], Embedder] = {}  # by folder and hashes: a name may come again with other files
_lock = Lock()


def embedder_of(encoder: Encoder) -> Embedder:
    """The network of an encoder, loaded once per process; the two used last are kept.

    Raises `ml.formats.errors.InputError` for an unusable folder.
    """
    with _lock:
        folder = encoder.folder
        key = (folder, str(encoder.card.get("files")))
        embedder = _loaded.pop(key, None) or _shared(folder)
        while len(_loaded) >= _KEPT:
            _loaded.pop(next(iter(_loaded)))
        _loaded[key] = embedder
        return embedder


def _shared(folder: Path) -> Embedder:
    """The network in a folder, for the threads of a worker.

    A GPU takes what they ask for at the same time in one batch. On a CPU a batch saves nothing, but no more threads
    than there are available_cores should be in the network: those that come later do better to wait.
    """
    runtime = cast(RuntimeChoice, settings.EMBEDDER_RUNTIME)  # the settings let nothing else through
    embedder = load_embedder(folder, runtime, precision=cast(Precision, settings.EMBEDDER_PRECISION))
    lanes = 1 if embedder.runtime == "torch" else available_cores()
    return replace(embedder, forward=Joined(embedder.forward, lanes=lanes, limit=embedder.portion))
