"""Data augmentation: training views of a photo (the photo itself, a flip, a simulated phone photo, or RandAugment).

A view depends only on the seed, the photo and the number of the view, so that a resumed or a distributed run gets the
same pictures.
"""

import random
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from ml.images.phone_view import simulate_phone_photo
from ml.images.preprocess import Preprocess

Bytes = npt.NDArray[np.uint8]
Augment = Literal["none", "flip", "phone", "randaugment"]

PLAIN_SHARE = 0.15
"""With "phone", the share of views that are the photo itself, half of them mirrored: the gallery has such photos."""


class ViewGenerator:
    """Makes views of decoded photos, uint8 (height, width, 3). The background of a phone view is another photo."""

    def __init__(
        self,
        photos: Sequence[Image.Image],
        preprocess: Preprocess,
        augment: Augment,
        seed: int,
        plain_share: float = PLAIN_SHARE,
    ) -> None:
        self._photos = photos
        self._preprocess = preprocess
        self.augment = augment
        self._plain_share = plain_share
        self._seed = seed
        self._randaugment = _randaugment() if augment == "randaugment" else None

    def clean(self, photo: int) -> Bytes:
        """Return the photo as an encoder reads it, without augmentation."""
        return np.asarray(self._preprocess.fit(self._photos[photo]))

    def view(self, photo: int, number: int) -> Bytes:
        """Return view `number` of the photo."""
        rng = random.Random(f"{self._seed} {photo} {number}")  # noqa: S311 - a simulation, not a secret
        picture = self._photos[photo]
        if self.augment == "phone" and rng.random() >= self._plain_share:
            background = self._photos[rng.randrange(len(self._photos))]
            picture = simulate_phone_photo(picture, background, rng)
        elif self.augment != "none" and rng.random() < 0.5:
            picture = ImageOps.mirror(picture)
        fitted = self._preprocess.fit(picture)
        if self._randaugment is not None:
            fitted = _apply_seeded(self._randaugment, fitted, rng)
        return np.asarray(fitted)


def _randaugment() -> Any:
    from ml.images.torchvision_compat import import_torchvision

    import_torchvision()
    from torchvision.transforms import RandAugment

    return RandAugment(num_ops=2, magnitude=9, fill=[127, 127, 127])


def _apply_seeded(transform: Any, picture: Image.Image, rng: random.Random) -> Image.Image:
    """Apply a torchvision transform seeded from `rng`. Not thread-safe: it sets torch's global generator."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(rng.getrandbits(63))  # torch.manual_seed would also seed the GPU
        result: Image.Image = transform(picture)
        return result
