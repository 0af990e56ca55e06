"""Dataset of a run: train and held-out photos; their views as pictures or as cached maps of the frozen stages."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from ml.data.augment import ViewGenerator
from ml.data.manifest import data_hash
from ml.data.photos import Ints, PhotoSet, decode_photos
from ml.data.sampling import view_numbers
from ml.data.view_cache import ViewCache, ViewDataset, load_or_fill_cache, stack_pictures, weights_digest
from ml.progress import Progress, silent
from ml.training.distributed import barrier, rank, training_device, world_size
from ml.training.model import TrainableEncoder, export_frozen_stages
from ml.training.options import TrainingOptions

SHRINK_TO = 1.4
"""Photos stay in memory with a longer side of this many times the network's input, because phone views crop them."""

CLEAN, PHONE = 0, 1


@dataclass(frozen=True)
class Batch:
    """`inputs` (copies x photos, c, h, w): pictures or maps, all first views before all second ones.

    `labels` and `items` (copies x photos) are the numbers of their labels and items.
    """

    inputs: Tensor
    labels: Tensor
    items: Tensor


@dataclass(frozen=True)
class TrainingData:
    """`train_cache`: view 0 (clean) of each train photo and the cached views; `held_out_cache`: clean, phone."""

    train: PhotoSet
    held_out: PhotoSet
    view_generator: ViewGenerator
    train_cache: ViewCache
    held_out_cache: ViewCache
    options: TrainingOptions

    def batches(self, positions: list[Ints], copies: int, epoch: int) -> Iterator[Batch]:
        """Yield this process' share of each batch, in the order of `positions` (see `sampling.epoch_batches`)."""
        shares = [batch[rank() :: world_size()] for batch in positions]
        numbers = [
            view_numbers(batch, self.options.views, copies, self.options.seed, epoch, step)[:, rank() :: world_size()]
            for step, batch in enumerate(positions)
        ]
        inputs = self._cached_batches(shares, numbers) if self.options.views else self._fresh_batches(shares, numbers)
        for share, views in zip(shares, inputs, strict=True):
            labels = torch.from_numpy(np.tile(self.train.labels[share], copies))
            items = torch.from_numpy(np.tile(self.train.items[share], copies))
            device = training_device()
            yield Batch(views.to(device, non_blocking=True), labels.to(device), items.to(device))

    def _cached_batches(self, shares: list[Ints], numbers: list[Ints]) -> Iterator[Tensor]:
        for share, views in zip(shares, numbers, strict=True):
            yield self.train_cache.batch(np.tile(share, len(views)), views.reshape(-1))

    def _fresh_batches(self, shares: list[Ints], numbers: list[Ints]) -> Iterator[Tensor]:
        pairs: list[tuple[int, int]] = []
        batches: list[list[int]] = []
        for share, views in zip(shares, numbers, strict=True):
            start = len(pairs)
            pairs += [(int(photo), int(view)) for row in views for photo, view in zip(share, row, strict=True)]
            batches.append(list(range(start, len(pairs))))
        yield from DataLoader(
            ViewDataset(self.view_generator, pairs),
            batch_sampler=batches,
            num_workers=self.options.workers,
            collate_fn=stack_pictures,
            pin_memory=torch.cuda.is_available(),
        )


def load_data(
    train: PhotoSet,
    held_out: PhotoSet,
    encoder: TrainableEncoder,
    options: TrainingOptions,
    cache_folder: Path,
    progress: Progress = silent,
) -> TrainingData:
    """Decode the photos; make the cached views, or read them from `cache_folder`. Raises `InputError`."""
    longest = round(SHRINK_TO * options.side)
    pictures = decode_photos(train, longest, progress) + decode_photos(held_out, longest, progress)
    view_generator = ViewGenerator(pictures, encoder.preprocess, options.augment, options.seed)
    phone = ViewGenerator(pictures, encoder.preprocess, "phone", options.seed + 1, plain_share=0.0)
    frozen, source = _frozen_stages(encoder, options), _fingerprint(train, held_out, encoder, options)

    def load_views(name: str, view_generator: ViewGenerator, photos: range, views: int) -> ViewCache:
        origin = source | {"augment": view_generator.augment}
        return load_or_fill_cache(
            cache_folder / f"{name}.npy", origin, view_generator, photos, views, frozen, options.workers, progress
        )

    if rank() != 0:
        barrier()  # rank 0 makes the views, the others read them
    train_cache = load_views("train", view_generator, range(len(train)), max(1, options.views))
    held_out_cache = load_views("held", phone, range(len(train), len(pictures)), 2)
    if rank() == 0:
        barrier()
    return TrainingData(train, held_out, view_generator, train_cache, held_out_cache, options)


def _frozen_stages(encoder: TrainableEncoder, options: TrainingOptions) -> Callable[[Tensor], Tensor] | None:
    """Return the frozen stages as a function of pictures; None where no stage is frozen."""
    if not options.freeze_stages:
        return None
    device = training_device()
    if device.type != "cpu":
        encoder.to(device).eval()  # a run sets the mode before each step
        return lambda pictures: encoder.run_frozen_stages(pictures.to(device))

    @cache
    def exported() -> Callable[[Tensor], Tensor]:  # takes seconds, and is not needed where all views are cached
        return export_frozen_stages(encoder, options.side, options.threads)

    return lambda pictures: exported()(pictures)


def _fingerprint(
    train: PhotoSet, held_out: PhotoSet, encoder: TrainableEncoder, options: TrainingOptions
) -> dict[str, str]:
    """Return the inputs of the cached views as hashes; views with another fingerprint are rebuilt."""
    photos = train.photos + held_out.photos
    order = repr([(photo.path, photo.box) for photo in photos])
    return {
        "data": data_hash(train.manifest, photos),
        "order": hashlib.sha256(order.encode()).hexdigest(),
        "frozen": weights_digest(encoder.frozen_stages),
        "preprocessing": repr(encoder.preprocess),
        "seed": str(options.seed),
    }
