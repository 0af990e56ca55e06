"""Pictures into vectors: those of a query, batches for the catalogue."""

import logging
from dataclasses import dataclass, field
from math import ceil
from typing import Any

import numpy as np
import numpy.typing as npt
from django.db import transaction
from django.db.models import QuerySet
from PIL import Image, UnidentifiedImageError

from catalog.colour import garment_colour
from catalog.crops import Crop, crop_box, require_large_enough
from catalog.errors import IllegalMove, Refused
from catalog.models import CatalogItem, Embedding, Encoder, ItemPhoto, SimilarityQuery, UploadedPhoto
from catalog.models.queries import NOT_CLOTHES
from ml.runtime import prepared
from ml.vectors import unit_rows
from worker.encoders import embedder_of

BATCH = 16  # photos of the catalogue per message: a person's photo waits for one batch at most

_DECODED = 512  # px a side at least, if the picture has as many; encoders take 224 to 384

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Seen:
    """What an encoder makes of what a query asks about; `colour_lab` is None where nobody knows the colour."""

    vector: bytes
    colour_lab: list[float] | None = None
    guess: dict[str, Any] = field(default_factory=dict)


def look_at(query: SimilarityQuery, encoder: Encoder, *, anew: bool = False) -> Seen:
    """The embedding of what is asked about, as it is stored: an item of the catalogue, or a garment on photos.

    `anew`: even where an earlier query was about the same.
    """
    if query.item is not None:
        return _seen_item(query.item, encoder)
    if query.photo is None:
        raise IllegalMove(f"{query} has no photo yet")
    photos = [query.photo, *query.more_photos.all()]
    if not anew and len(photos) == 1 and (earlier := _seen_before(query, encoder)):
        return earlier
    return _seen_garment([_picture_of(photo, query.crop) for photo in photos], encoder)


def _seen_garment(pictures: list[Image.Image], encoder: Encoder) -> Seen:
    embedder = embedder_of(encoder)
    vectors, strangeness = embedder.embed_and_judge(prepared(pictures, embedder.card.preprocessing))
    limit = embedder.card.strangeness
    strange = limit is not None and strangeness is not None and bool(limit.not_clothes(strangeness).all())
    return Seen(_as_stored(_middle(vectors)), garment_colour(pictures[0]), {NOT_CLOTHES: True} if strange else {})


def _seen_item(item: CatalogItem, encoder: Encoder) -> Seen:
    """The item by the vectors that it has already. Refused if none of its photos is embedded."""
    rows = Embedding.objects.filter(item=item, encoder=encoder).order_by("photo__position", "photo_id")
    known = list(rows.values_list("vector", "photo__colour_lab"))
    if not known:
        raise Refused("item_not_embedded", "This item is not ready for searches yet. Please try again in a moment.")
    vectors = np.frombuffer(b"".join(bytes(vector) for vector, _ in known), dtype="<f4").reshape(len(known), -1)
    return Seen(_as_stored(_middle(vectors)), next((colour for _, colour in known if colour), None))


def _middle(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The unit vector of several photos of one garment: their mean, made one long again.

    Of all unit vectors it has the highest mean cosine with theirs, so an item is near it when it is near to all views.
    What only one view shows (its light, its background, its fold) points anywhere and mostly cancels out in the mean.
    """
    middle: npt.NDArray[np.float32] = unit_rows(vectors.mean(axis=0, keepdims=True))[0]
    return middle


def _seen_before(query: SimilarityQuery, encoder: Encoder) -> Seen | None:
    """What an earlier query about the same part of the same single photo was told by the same encoder."""
    alone = SimilarityQuery.objects.filter(photo=query.photo, encoder=encoder, more_photos=None).exclude(vector=None)
    same = alone.filter(crop__isnull=True) if query.crop is None else alone.filter(crop=query.crop)
    earlier = same.only("vector", "colour_lab", "guess").first()
    if earlier is None or earlier.vector is None:
        return None
    kept = {NOT_CLOTHES: True} if earlier.probably_not_clothes else {}  # the rest is from that answer
    return Seen(bytes(earlier.vector), earlier.colour_lab, kept)


def _picture_of(photo: UploadedPhoto, crop: Crop | None) -> Image.Image:
    if crop is not None:
        require_large_enough(crop, photo.width, photo.height)  # a photo that was fetched is known only now
    try:
        return open_photo(photo, crop)
    except (FileNotFoundError, UnidentifiedImageError) as error:
        raise Refused("photo_gone", "The photo is no longer there. Please send it again.", status=410) from error


def embed_batch(encoder: Encoder) -> int:
    """Embed the next photos of the catalogue that a claimed encoder has not seen. Returns how many were dealt with.

    The vectors of a batch are written in one transaction, or not at all if the claim was lost (`ClaimLost`).
    """
    photos = list(encoder.missing_photos()[:BATCH])
    readable = [(photo, picture) for photo in photos if (picture := _picture_or_problem(photo)) is not None]
    vectors = embedder_of(encoder).embed([picture for _, picture in readable])
    uncoloured = [(photo, picture) for photo, picture in readable if photo.colour_lab is None]
    for photo, picture in uncoloured:
        photo.colour_lab = garment_colour(picture)
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
        ItemPhoto.objects.bulk_update([photo for photo, _ in uncoloured], ["colour_lab"])
    return len(photos)


def uncoloured_photos() -> QuerySet[ItemPhoto]:
    """The photos of the catalogue whose colour nobody knows, oldest first: new ones, and those of before there was any.

    A new one gets its colour with its first vector, so what has all its vectors and is still here is of then.
    """
    return ItemPhoto.objects.filter(item__deleted_at=None, problem="", colour_lab__isnull=True).order_by("id")


def colour_batch() -> int:
    """Look up the colours of the next photos without one. Returns how many were dealt with."""
    photos = list(uncoloured_photos()[:BATCH])
    readable = [(photo, picture) for photo in photos if (picture := _picture_or_problem(photo)) is not None]
    for photo, picture in readable:
        photo.colour_lab = garment_colour(picture)
    ItemPhoto.objects.bulk_update([photo for photo, _ in readable], ["colour_lab"])
    return len(photos)


def _as_stored(vector: npt.NDArray[np.float32]) -> bytes:
    return vector.astype("<f4").tobytes()


def open_photo(photo: ItemPhoto | UploadedPhoto, crop: Crop | None = None) -> Image.Image:
    """The stored picture, or a part of it, decoded. FileNotFoundError or UnidentifiedImageError if lost or broken."""
    with photo.file.open("rb") as file, Image.open(file, formats=["JPEG"]) as picture:
        # The decoder leaves out what no encoder looks at; of a part that is wanted it has to leave enough.
        share = (crop["width"], crop["height"]) if crop else (1.0, 1.0)
        picture.draft("RGB", (ceil(_DECODED / share[0]), ceil(_DECODED / share[1])))
        picture.load()
        return picture.crop(crop_box(crop, *picture.size)) if crop else picture.copy()


def _picture_or_problem(photo: ItemPhoto) -> Image.Image | None:
    """The picture, or None with the problem noted on the row, so that one lost file does not stop the others."""
    try:
        return open_photo(photo)
    except (FileNotFoundError, UnidentifiedImageError) as error:
        logger.warning("Photo %s of item %s cannot be embedded: %s", photo.pk, photo.item_id, error)
        ItemPhoto.objects.filter(pk=photo.pk).update(problem=f"{type(error).__name__}: {error}"[:200])
        return None
