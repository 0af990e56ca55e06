"""Views made once and kept in a file: as pictures, or as what the frozen stages of the trunk make of them.

Making a phone view costs more than a training step on it, and so do the first stages of a trunk, whose maps are large.
Kept as maps of float16 they cost a read. The file is a cache: it carries what it was made of, and may be deleted.
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
from ml.formats.atomic_files import atomic_path, require_disk_space, unwritable
from ml.progress import Progress, silent

Ints = npt.NDArray[np.int64]
Kept = npt.NDArray[np.uint8] | npt.NDArray[np.float16]

CHUNK = 32
"""Views that go through the frozen stages at a time."""


@dataclass(frozen=True)
class ViewCache:
    """`array` (photos, views, h, w, c): pictures as uint8, or maps as float16, channels last, mapped from a file."""

    array: Kept

    @property
    def views(self) -> int:
        """How many views of each photo there are."""
        return int(self.array.shape[1])

    def batch(self, photos: Ints, views: Ints) -> Tensor:
        """Return view `views[i]` of photo `photos[i]`, (b, c, h, w) in memory order b, h, w, c; uint8 or float16."""
        return torch.from_numpy(self.array[photos, views]).permute(0, 3, 1, 2)


class ViewDataset(Dataset[Bytes]):
    """The views named by (photo, view) pairs; view 0 is the photo as it is. For a DataLoader with processes."""

    def __init__(self, viewer: ViewGenerator, pairs: Sequence[tuple[int, int]]) -> None:
        self._viewer = viewer
        self._pairs = pairs

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(self, at: int) -> Bytes:
        photo, view = self._pairs[at]
        return self._viewer.clean(photo) if view == 0 else self._viewer.view(photo, view)


def load_or_fill_cache(
    path: Path,
    about: dict[str, str],
    viewer: ViewGenerator,
    photos: Sequence[int],
    views: int,
    frozen: Callable[[Tensor], Tensor] | None,
    workers: int,
    progress: Progress = silent,
) -> ViewCache:
    """Return the first `views` views of `photos`, from `path` if that was made of the same things, else made anew.

    `frozen` takes uint8 pictures (b, 3, h, w) to maps (b, c, h', w'); None keeps the pictures themselves.
    `about` says what the views are made of. Raises `UnwritableError`.
    """
    label = path.with_suffix(".json")
    wanted = about | {"photos": _digest(photos), "views": str(views)}
    kept = _kept_before(path, label, wanted)
    if kept is not None:
        return ViewCache(kept)
    with unwritable(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as part:
            _fill(part, viewer, photos, views, frozen, workers, progress)
            label.unlink(missing_ok=True)
        label.write_text(json.dumps(wanted))
    return ViewCache(np.load(path, mmap_mode="r"))


def _kept_before(path: Path, label: Path, wanted: dict[str, str]) -> Kept | None:
    """Return the views in `path`; None where there are none, those of other things, or a file that was cut short."""
    try:
        if json.loads(label.read_text()) != wanted:
            return None
        kept: Kept = np.load(path, mmap_mode="r")
        return kept
    except (OSError, EOFError, ValueError):  # among the ValueErrors: no JSON, no array, fewer bytes than the array has
        return None


def weights_digest(module: nn.Module | Sequence[nn.Module]) -> str:
    """Return the sha256 of all weights of a module, or of several."""
    whole = hashlib.sha256()
    for part in [module] if isinstance(module, nn.Module) else module:
        for name, tensor in part.state_dict().items():
            whole.update(name.encode() + tensor.detach().cpu().numpy().tobytes())
    return whole.hexdigest()


def _fill(
    part: Path,
    viewer: ViewGenerator,
    photos: Sequence[int],
    views: int,
    frozen: Callable[[Tensor], Tensor] | None,
    workers: int,
    progress: Progress,
) -> None:
    pairs = [(photo, view) for photo in photos for view in range(views)]
    loader = DataLoader(ViewDataset(viewer, pairs), batch_size=CHUNK, num_workers=workers, collate_fn=stack_pictures)
    array: Kept | None = None
    done = 0
    pictures: Tensor
    for pictures in progress(loader, "views"):  # type: ignore[arg-type] # a loader has a length and is iterated over
        kept = _kept(pictures, frozen)
        if array is None:
            shape = (len(pairs), *kept.shape[1:])
            require_disk_space(part, int(np.prod(shape, dtype=np.int64)) * kept.itemsize)
            array = np.lib.format.open_memmap(part, mode="w+", dtype=kept.dtype, shape=(len(photos), views, *shape[1:]))
            flat = array.reshape(shape)
        flat[done : done + len(kept)] = kept
        done += len(kept)
    if isinstance(array, np.memmap):
        array.flush()


def _kept(pictures: Tensor, frozen: Callable[[Tensor], Tensor] | None) -> Kept:
    if frozen is None:
        return pictures.permute(0, 2, 3, 1).contiguous().numpy()
    with torch.inference_mode():
        return frozen(pictures).permute(0, 2, 3, 1).contiguous().cpu().numpy().astype(np.float16)


def stack_pictures(pictures: list[Bytes]) -> Tensor:
    """(b, 3, h, w) in memory order b, h, w, c, as convolutions on a CPU like it best."""
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)


def _digest(photos: Sequence[int]) -> str:
    return hashlib.sha256(np.asarray(photos, dtype=np.int64).tobytes()).hexdigest()[:16]
