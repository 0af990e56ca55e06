"""As what the photos are seen: as they are, and as a phone would have taken them."""

import random
from collections.abc import Callable
from pathlib import Path

from ml.data.manifest import Manifest, Photo
from ml.images.phone_view import phone_view
from ml.images.pictures import read_pixels
from ml.images.preprocess import Preprocess
from ml.vectors import Floats

SEED = "garment query"
"""Seeds the phone views of the queries; no training uses it."""

View = Callable[[Manifest, Preprocess, Photo], Floats]


def clean(manifest: Manifest, preprocess: Preprocess, photo: Photo) -> Floats:
    """The photo as the product would see it, ready for a network, float32 (3, h, w). Raises `PictureError`."""
    if photo.box is not None:
        return preprocess(manifest.read(photo))
    return read_pixels(manifest.file(photo), preprocess)  # decoded at the scale that is needed, as in `embed`


def phone(manifest: Manifest, preprocess: Preprocess, photo: Photo) -> Floats:
    """A simulated phone photo of it, float32 (3, h, w). The background may be any photo of the manifest.

    The file's name decides everything, so that every encoder is asked the same. Raises `PictureError`.
    """
    rng = random.Random(f"{SEED} {Path(photo.path).name}")  # noqa: S311 - a simulation, not a secret
    background = manifest.read(manifest.photos[rng.randrange(len(manifest.photos))])
    return preprocess(phone_view(manifest.read(photo), background, rng))
