"""Cache of the encoders that this process has loaded."""

from dataclasses import replace
from pathlib import Path
from threading import Lock
from typing import cast

from django.conf import settings

from catalog.models import Encoder
from ml.inference.embedder import Embedder, load_embedder
from ml.runtime.types import Precision, RuntimeChoice, available_cores
from worker.encoders.batcher import DynamicBatcher

_MAX_LOADED = 2  # the live encoder, and a candidate that embeds the catalogue

_loaded: dict[tuple[Path, str], Embedder] = {}  # by folder and hashes: a name may be used again with other files
_lock = Lock()


def embedder_of(encoder: Encoder) -> Embedder:
    """Return the embedder of an encoder, loaded once per process. Thread-safe; evicts the least recently used.

    Raises `ml.formats.errors.InputError` for an invalid folder, FileNotFoundError for a missing one.
    """
    with _lock:
        folder = encoder.folder
        key = (folder, str(encoder.card.get("files")))
        embedder = _loaded.pop(key, None) or _load(folder)
        while len(_loaded) >= _MAX_LOADED:
            _loaded.pop(next(iter(_loaded)))
        _loaded[key] = embedder
        return embedder


def _load(folder: Path) -> Embedder:
    """Load the network of a folder, with dynamic batching for the threads of a worker.

    A GPU computes simultaneous calls as one batch. On a CPU a batch saves nothing, so up to one thread per available
    core computes at a time and the others wait: more threads than cores would slow each other down.
    """
    runtime = cast(RuntimeChoice, settings.EMBEDDER_RUNTIME)  # checked by the settings
    embedder = load_embedder(folder, runtime, precision=cast(Precision, settings.EMBEDDER_PRECISION))
    lanes = 1 if embedder.runtime == "torch" else available_cores()
    return replace(embedder, forward=DynamicBatcher(embedder.forward, lanes=lanes, limit=embedder.batch_size))
