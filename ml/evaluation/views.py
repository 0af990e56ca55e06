"""Query views of an evaluation: the clean photo and a simulated phone photo."""

import random
from collections.abc import Callable
from pathlib import Path

from ml.data.manifest import Manifest, Photo
from ml.images.phone_view import simulate_phone_photo
from ml.images.pictures import read_pixels
from ml.images.preprocess import Preprocess
from ml.vectors import Floats

SEED = "garment query"
"""Seed of the phone views of the queries; training uses other seeds."""

View = Callable[[Manifest, Preprocess, Photo], Floats]


def read_clean(manifest: Manifest, preprocess: Preprocess, photo: Photo) -> Floats:
    """Return the preprocessed pixels of the photo, read as in production, float32 (3, h, w). Raises `PictureError`."""
    if photo.box is not None:
        return preprocess(manifest.read(photo))
    return read_pixels(manifest.file(photo), preprocess)  # decoded at the scale that is needed, as in `embed`


def read_phone_view(manifest: Manifest, preprocess: Preprocess, photo: Photo) -> Floats:
    """Return the preprocessed pixels of a simulated phone photo, float32 (3, h, w).

    The background may be any photo of the manifest. The file name seeds the simulation, so that every encoder gets the
    same queries. Raises `PictureError`.
    """
    rng = random.Random(f"{SEED} {Path(photo.path).name}")  # noqa: S311 - a simulation, not a secret
    background = manifest.read(manifest.photos[rng.randrange(len(manifest.photos))])
    return preprocess(simulate_phone_photo(manifest.read(photo), background, rng))
