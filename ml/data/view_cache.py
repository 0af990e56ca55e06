"""Cache of training views in a memory-mapped file: pixels, or the feature maps of the frozen stages.

Making a phone view costs more than a training step, and so do the first stages of a backbone, whose feature maps are
large. The cache stores the maps as float16. A JSON file beside the cache records the source of the views. Both files
may be deleted.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from ml.data.augment import Bytes, ViewGenerator
from ml.formats.atomic_files import atomic_path, require_disk_space, translate_to_unwritable
from ml.progress import Progress, silent

Ints = npt.NDArray[np.int64]
CachedArray = npt.NDArray[np.uint8] | npt.NDArray[np.float16]

CHUNK = 32
"""Views per batch through the frozen stages."""


@dataclass(frozen=True)
class ViewCache:
    """`array` (photos, views, h, w, c): pictures as uint8, or feature maps as float16, memory-mapped."""

    array: CachedArray

    @property
    def views(self) -> int:
        """The number of views per photo."""
        return int(self.array.shape[1])

    def batch(self, photos: Ints, views: Ints) -> Tensor:
        """Return view `views[i]` of photo `photos[i]`, (b, c, h, w) in memory order b, h, w, c; uint8 or float16."""
        return torch.from_numpy(self.array[photos, views]).permute(0, 3, 1, 2)


class ViewDataset(Dataset[Bytes]):
    """Views by (photo, view) pairs, for a DataLoader with worker processes; view 0 is the photo itself."""

    def __init__(self, view_generator: ViewGenerator, pairs: Sequence[tuple[int, int]]) -> None:
        self._viewer = view_generator
        self._pairs = pairs

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(self, at: int) -> Bytes:
        photo, view = self._pairs[at]
        return self._viewer.clean(photo) if view == 0 else self._viewer.view(photo, view)


def load_or_fill_cache(
    path: Path,
    source: dict[str, str],
    view_generator: ViewGenerator,
    photos: Sequence[int],
    views: int,
    frozen: Callable[[Tensor], Tensor] | None,
    workers: int,
    progress: Progress = silent,
) -> ViewCache:
    """Return the first `views` views of `photos`, from the cache at `path`, which is rebuilt if its source differs.

    `frozen` maps uint8 pictures (b, 3, h, w) to feature maps (b, c, h', w'); None caches the pictures. `source`
    identifies the photos, augmentation and frozen weights. The cache is replaced atomically. Raises `UnwritableError`.
    """
    source_file = path.with_suffix(".json")
    source = source | {"photos": _photos_digest(photos), "views": str(views)}
    cached = _load_array(path, source_file, source)
    if cached is not None:
        return ViewCache(cached)
    with translate_to_unwritable(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as part:
            _fill_array(part, view_generator, photos, views, frozen, workers, progress)
            source_file.unlink(missing_ok=True)
        source_file.write_text(json.dumps(source))
    return ViewCache(np.load(path, mmap_mode="r"))


def _load_array(path: Path, source_file: Path, source: dict[str, str]) -> CachedArray | None:
    """Return the views in `path`; None for a missing or truncated file, or one with another source."""
    try:
        if json.loads(source_file.read_text()) != source:
            return None
        array: CachedArray = np.load(path, mmap_mode="r")
        return array
    except (OSError, EOFError, ValueError):  # a ValueError: not JSON, not an array, or fewer bytes than the array has
        return None


def weights_digest(module: nn.Module | Sequence[nn.Module]) -> str:
    """Return the sha256 of all weights of a module, or of several."""
    digest = hashlib.sha256()
    for part in [module] if isinstance(module, nn.Module) else module:
        for name, tensor in part.state_dict().items():
            digest.update(name.encode() + tensor.detach().cpu().numpy().tobytes())
    return digest.hexdigest()


def _fill_array(
    part: Path,
    view_generator: ViewGenerator,
    photos: Sequence[int],
    views: int,
    frozen: Callable[[Tensor], Tensor] | None,
    workers: int,
    progress: Progress,
) -> None:
    pairs = [(photo, view) for photo in photos for view in range(views)]
    loader = DataLoader(
        ViewDataset(view_generator, pairs), batch_size=CHUNK, num_workers=workers, collate_fn=stack_pictures
    )
    array: CachedArray | None = None
    done = 0
    pictures: Tensor
    for pictures in progress(loader, "views"):  # type: ignore[arg-type] # a loader has a length and is iterated over
        batch = _to_cached_array(pictures, frozen)
        if array is None:
            shape = (len(pairs), *batch.shape[1:])
            require_disk_space(part, int(np.prod(shape, dtype=np.int64)) * batch.itemsize)
            array = np.lib.format.open_memmap(
                part, mode="w+", dtype=batch.dtype, shape=(len(photos), views, *shape[1:])
            )
            flat = array.reshape(shape)
        flat[done : done + len(batch)] = batch
        done += len(batch)
    if isinstance(array, np.memmap):
        array.flush()


def _to_cached_array(pictures: Tensor, frozen: Callable[[Tensor], Tensor] | None) -> CachedArray:
    if frozen is None:
        return pictures.permute(0, 2, 3, 1).contiguous().numpy()
    with torch.inference_mode():
        return frozen(pictures).permute(0, 2, 3, 1).contiguous().cpu().numpy().astype(np.float16)


def stack_pictures(pictures: list[Bytes]) -> Tensor:
    """Stack pictures (h, w, 3) to (b, 3, h, w) in memory order b, h, w, c: the fastest for convolutions on a CPU."""
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)


def _photos_digest(photos: Sequence[int]) -> str:
    return hashlib.sha256(np.asarray(photos, dtype=np.int64).tobytes()).hexdigest()[:16]
