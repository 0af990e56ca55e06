"""Everything a run sees: which photos train and which validate, and their views as pictures or kept maps."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from ml.data.augment import Viewer
from ml.data.manifest import data_hash
from ml.data.photos import Ints, PhotoSet, decoded
from ml.data.pixel_cache import ViewDataset, ViewStore, stacked, stored_views, weights_digest
from ml.data.sampling import view_numbers
from ml.progress import Progress, silent
from ml.training.distributed import barrier, rank, training_device, world_size
from ml.training.model import TrainableEncoder, export_frozen_stages
from ml.training.options import TrainingOptions

SHRINK_TO = 1.4
"""Photos are kept in memory with a longer side of this many times the network's: phone views crop them further."""

CLEAN, PHONE = 0, 1


@dataclass(frozen=True)
class Batch:
    """`inputs` (copies x photos, c, h, w): pictures or maps, all first views, then all second ones; and the numbers of
    their labels and items (copies x photos)."""

    inputs: Tensor
    labels: Tensor
    items: Tensor


@dataclass(frozen=True)
class TrainingData:
    """`train_store`: view 0 (clean) of each train photo and the cached views; `held_out_store`: clean, phone."""

    train: PhotoSet
    held_out: PhotoSet
    viewer: Viewer
    train_store: ViewStore
    held_out_store: ViewStore
    options: TrainingOptions

    def batches(self, positions: list[Ints], copies: int, epoch: int) -> Iterator[Batch]:
        """Yield this process' share of each batch, in the order of `positions` (see `sampling.epoch_batches`)."""
        shares = [batch[rank() :: world_size()] for batch in positions]
        numbers = [
            view_numbers(batch, self.options.views, copies, self.options.seed, epoch, step)[:, rank() :: world_size()]
            for step, batch in enumerate(positions)
        ]
        kept = bool(self.options.views)
        inputs = self._kept(shares, numbers) if kept else self._fresh(shares, numbers)
        for share, views in zip(shares, inputs, strict=True):
            labels = torch.from_numpy(np.tile(self.train.labels[share], copies))
            items = torch.from_numpy(np.tile(self.train.items[share], copies))
            device = training_device()
            yield Batch(views.to(device, non_blocking=True), labels.to(device), items.to(device))

    def _kept(self, shares: list[Ints], numbers: list[Ints]) -> Iterator[Tensor]:
        for share, views in zip(shares, numbers, strict=True):
            yield self.train_store.batch(np.tile(share, len(views)), views.reshape(-1))

    def _fresh(self, shares: list[Ints], numbers: list[Ints]) -> Iterator[Tensor]:
        pairs: list[tuple[int, int]] = []
        batches: list[list[int]] = []
        for share, views in zip(shares, numbers, strict=True):
            start = len(pairs)
            pairs += [(int(photo), int(view)) for row in views for photo, view in zip(share, row, strict=True)]
            batches.append(list(range(start, len(pairs))))
        yield from DataLoader(
            ViewDataset(self.viewer, pairs),
            batch_sampler=batches,
            num_workers=self.options.workers,
            collate_fn=stacked,
            pin_memory=torch.cuda.is_available(),
        )


def load_data(
    train: PhotoSet,
    held_out: PhotoSet,
    encoder: TrainableEncoder,
    options: TrainingOptions,
    cache: Path,
    progress: Progress = silent,
) -> TrainingData:
    """Decode the photos and make, or find in `cache`, the views that are kept. Raises `InputError`."""
    longest = round(SHRINK_TO * options.side)
    pictures = decoded(train, longest, progress) + decoded(held_out, longest, progress)
    viewer = Viewer(pictures, encoder.preprocess, options.augment, options.seed)
    phone = Viewer(pictures, encoder.preprocess, "phone", options.seed + 1, plain_share=0.0)
    frozen, about = _frozen(encoder, options), _about(train, held_out, encoder, options)

    def stored(name: str, by: Viewer, photos: range, views: int) -> ViewStore:
        kind = about | {"augment": by.augment}
        return stored_views(cache / f"{name}.npy", kind, by, photos, views, frozen, options.workers, progress)

    if rank() != 0:
        barrier()  # the first process makes the views, the others find them
    train_store = stored("train", viewer, range(len(train)), max(1, options.views))
    held_out_store = stored("held", phone, range(len(train), len(pictures)), 2)
    if rank() == 0:
        barrier()
    return TrainingData(train, held_out, viewer, train_store, held_out_store, options)


def _frozen(encoder: TrainableEncoder, options: TrainingOptions) -> Callable[[Tensor], Tensor] | None:
    if not options.freeze_stages:
        return None
    device = training_device()
    if device.type != "cpu":
        encoder.to(device).eval()  # a run sets the mode before each step
        return lambda pictures: encoder.run_frozen_stages(pictures.to(device))

    @cache
    def exported() -> Callable[[Tensor], Tensor]:  # takes seconds, and where all views are kept already nobody asks
        return export_frozen_stages(encoder, options.side, options.threads)

    return lambda pictures: exported()(pictures)


def _about(train: PhotoSet, held_out: PhotoSet, encoder: TrainableEncoder, options: TrainingOptions) -> dict[str, str]:
    photos = train.photos + held_out.photos
    order = repr([(photo.path, photo.box) for photo in photos])
    return {
        "data": data_hash(train.manifest, photos),
        "order": hashlib.sha256(order.encode()).hexdigest(),
        "frozen": weights_digest(encoder.frozen_stages),
        "preprocessing": repr(encoder.preprocess),
        "seed": str(options.seed),
    }
