"""Photos into vectors: one for a query, batches for the catalogue."""

import logging

import numpy as np
import numpy.typing as npt
from django.db import transaction
from PIL import Image, UnidentifiedImageError

from catalog.errors import Refused
from catalog.models import Embedding, Encoder, ItemPhoto, SimilarityQuery, UploadedPhoto
from worker.encoders import embedder_of

BATCH = 16  # photos of the catalogue per message: a person's photo waits for one batch at most

_DECODED = (512, 512)  # px at least, if the picture has as many; encoders take 224 to 384

logger = logging.getLogger(__name__)


def query_vector(query: SimilarityQuery, encoder: Encoder) -> bytes:
    """The embedding of a query's photo, as it is stored. An earlier query's is taken if it is of the same encoder."""
    earlier = SimilarityQuery.objects.filter(photo=query.photo, encoder=encoder).exclude(vector=None).first()
    if earlier is not None and earlier.vector is not None:
        return bytes(earlier.vector)
    try:
        picture = open_photo(query.photo)  # type: ignore[arg-type]  # for now
    except (FileNotFoundError, UnidentifiedImageError) as error:
        raise Refused("photo_gone", "The photo is no longer there. Please send it again.", status=410) from error
    return _as_stored(embedder_of(encoder).embed([picture])[0])


def embed_batch(encoder: Encoder) -> int:
    """Embed the next photos of the catalogue that a claimed encoder has not seen. Returns how many were dealt with.

    The vectors of a batch are written in one transaction, or not at all if the claim was lost (`ClaimLost`).
    """
    photos = list(encoder.missing_photos()[:BATCH])
    readable = [(photo, picture) for photo in photos if (picture := _picture_or_problem(photo)) is not None]
    vectors = embedder_of(encoder).embed([picture for _, picture in readable])
    rows = [
        Embedding(
            photo=photo,
            item_id=photo.item_id,
            encoder=encoder,
            vector=_as_stored(vector),
            source_sha256=photo.sha256,
        )
        for (photo, _), vector in zip(readable, vectors, strict=True)
    ]
    with transaction.atomic():
        encoder.renew_claim()
        Embedding.objects.bulk_create(rows, ignore_conflicts=True)
    return len(photos)


def _as_stored(vector: npt.NDArray[np.float32]) -> bytes:
    return vector.astype("<f4").tobytes()


def open_photo(photo: ItemPhoto | UploadedPhoto) -> Image.Image:
    """The stored picture, decoded. FileNotFoundError or UnidentifiedImageError if it is lost or broken."""
    with photo.file.open("rb") as file, Image.open(file, formats=["JPEG"]) as picture:
        picture.draft("RGB", _DECODED)  # the decoder then leaves out what no encoder looks at
        picture.load()
        return picture.copy()


def _picture_or_problem(photo: ItemPhoto) -> Image.Image | None:
    """The picture, or None with the problem noted on the row, so that one lost file does not stop the others."""
    try:
        return open_photo(photo)
    except (FileNotFoundError, UnidentifiedImageError) as error:
        logger.warning("Photo %s of item %s cannot be embedded: %s", photo.pk, photo.item_id, error)
        ItemPhoto.objects.filter(pk=photo.pk).update(problem=f"{type(error).__name__}: {error}"[:200])
        return None
