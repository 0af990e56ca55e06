"""The figures of a metric encoder on the photos of a manifest that it was not fitted on."""

from pathlib import Path

import numpy as np

from ml.embedder import Embedder
from ml.manifest import Manifest
from ml.metrics import Ints, found_within, label_figures
from ml.phone_view import phone_view_of
from ml.pictures import read_batches, read_pixels
from ml.progress import Progress, silent
from ml.vectors import Floats

SEED = "garment query"
"""Seeds the phone views of the queries; the fit of an encoder uses other seeds."""


def measure(embedder: Embedder, manifest: Manifest, progress: Progress = silent) -> dict[str, float]:
    """Return shares 0..1 and the counts they are over. Queries: the val and test photos; gallery: all photos.

    near10, map_at_r: the right label, photos of the query's own contributor (or item, where the manifest has no such
    column) left out. garment_at_1, garment_at_5: the very photo found from a simulated phone photo of it.
    A figure that is about nothing, such as that of a label which only one contributor has, is left out.
    Raises `PictureError`.
    """
    photos = manifest.photos
    files = [manifest.file(photo) for photo in photos]
    queries = np.flatnonzero([photo.split != "train" for photo in photos])
    preprocess = embedder.card.preprocessing

    def clean_pixels(path: Path) -> Floats:
        return read_pixels(path, preprocess)

    def phone_pixels(path: Path) -> Floats:
        return preprocess(phone_view_of(path, files, SEED))

    taken = [files[query] for query in queries]
    gallery = embedder.embed_batches(read_batches(progress(files, "gallery"), clean_pixels))
    phone = embedder.embed_batches(read_batches(progress(taken, "phone photos"), phone_pixels))
    labels = _numbered([photo.label for photo in photos])
    groups = _numbered([photo.more.get("contributor", photo.item) for photo in photos])
    near10, map_at_r = label_figures(gallery[queries], gallery, labels[queries], labels, groups[queries], groups)
    at_1, at_5 = found_within(phone, gallery, queries, (1, 5))
    shares = {"near10": near10, "map_at_r": map_at_r, "garment_at_1": at_1, "garment_at_5": at_5}
    known = {name: round(share, 4) for name, share in shares.items() if np.isfinite(share)}
    return known | {"queries": len(queries), "gallery": len(files)}


def _numbered(names: list[str]) -> Ints:
    return np.unique(names, return_inverse=True)[1].astype(np.int64)
