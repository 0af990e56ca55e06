"""Compute embeddings: of queries, and of the catalogue's photos in the background."""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from math import ceil
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from django.db import connection, transaction
from django.db.models import JSONField, Max, QuerySet
from more_itertools import chunked
from PIL import Image, UnidentifiedImageError

from catalog.errors import IllegalTransition, Refused
from catalog.models import CatalogItem, Embedding, Encoder, ItemPhoto, QueryState, SimilarityQuery, UploadedPhoto
from catalog.models.queries import NOT_CLOTHES
from catalog.photos.colour import garment_colour
from catalog.photos.crops import Crop, crop_box, require_min_size
from ml.images.pictures import map_ahead
from ml.inference.embedder import Embedder
from ml.runtime.load import pixel_batches
from ml.runtime.types import available_cores
from ml.vectors import unit_rows
from worker.encoders.loaded import embedder_of

BATCH: Final = 32  # catalogue photos whose vectors are written in one transaction
STREAK_SECONDS: Final = 5.0  # of embedding the catalogue per message; much less than CLAIM_SECONDS

_FIRST_CHECK_SECONDS = 0.1  # work done before the first check, so that a steady stream of queries does not starve it
_CHECK_SECONDS = 0.02  # between later checks for a query that waits
_PAGE = 256  # rows of photos read at once
_DECODED = 512  # px, minimum side to decode at: enough for the colour
_DECODED_SHARE = 1.5  # times the encoder's input side: its resize still averages, and no vector changes (tested)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class QueryEmbedding:
    """The vector of a query (little-endian float32), its garment's colour (None if unknown), and a first guess."""

    vector: bytes
    colour_lab: list[float] | None = None
    guess: dict[str, Any] = field(default_factory=dict)


def embed_query(query: SimilarityQuery, encoder: Encoder, *, reuse: bool = True) -> QueryEmbedding:
    """Embed the source of a query: an item of the catalogue, or a garment on one or several photos.

    `reuse`: take the vector of an earlier query about the same crop of the same single photo, if there is one. Raises
    `Refused` for a bad photo, crop or item, `IllegalTransition` for a query without a photo.
    """
    if query.item is not None:
        return _embed_item(query.item, encoder)
    if query.photo is None:
        raise IllegalTransition(f"{query} has no photo yet")
    photos = [query.photo, *query.other_photos]
    if reuse and len(photos) == 1 and (earlier := _earlier_embedding(query, encoder)):
        return earlier
    embedder = embedder_of(encoder)
    return _embed_pictures([_open_upload(photo, query.crop, decoded_side(embedder)) for photo in photos], embedder)


def decoded_side(embedder: Embedder) -> int:
    """Return the minimum side in pixels at which to decode a picture for an encoder."""
    return ceil(_DECODED_SHARE * max(embedder.card.preprocessing.height, embedder.card.preprocessing.width))


def _embed_pictures(pictures: list[Image.Image], embedder: Embedder) -> QueryEmbedding:
    """Embed photos of one garment as one vector. The guess is "no clothes" if all are out of distribution."""
    vectors, ood_scores = embedder.embed_with_ood(pixel_batches(pictures, embedder.card.preprocessing))
    threshold = embedder.card.ood_threshold
    is_ood = threshold is not None and ood_scores is not None and bool(threshold.not_clothes(ood_scores).all())
    guess = {NOT_CLOTHES: True} if is_ood else {}
    return QueryEmbedding(_to_bytes(_mean_vector(vectors)), garment_colour(pictures[0]), guess)


def _embed_item(item: CatalogItem, encoder: Encoder) -> QueryEmbedding:
    """Return the mean of an item's stored vectors. Raises `Refused` if none of its photos is embedded."""
    rows = Embedding.objects.filter(item=item, encoder=encoder).order_by("photo__position", "photo_id")
    stored = list(rows.values_list("vector", "photo__colour_lab"))
    if not stored:
        raise Refused("item_not_embedded", "This item is not ready for searches yet. Please try again in a moment.")
    vectors = np.frombuffer(b"".join(bytes(vector) for vector, _ in stored), dtype="<f4").reshape(len(stored), -1)
    return QueryEmbedding(_to_bytes(_mean_vector(vectors)), next((colour for _, colour in stored if colour), None))


def _mean_vector(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return the normalised mean (dim) of the vectors (n, dim) of several photos of one garment.

    Of all unit vectors the mean has the highest average cosine with these vectors, so an item near the mean is near
    all views. Features of a single view (light, background, folds) point in random directions and mostly cancel out.
    """
    mean: npt.NDArray[np.float32] = unit_rows(vectors.mean(axis=0, keepdims=True))[0]
    return mean


def _earlier_embedding(query: SimilarityQuery, encoder: Encoder) -> QueryEmbedding | None:
    """Return the embedding of an earlier query about the same crop of the same single photo by the same encoder."""
    single = SimilarityQuery.objects.filter(photo=query.photo, encoder=encoder, more_photos=None).exclude(vector=None)
    same = single.filter(crop__isnull=True) if query.crop is None else single.filter(crop=query.crop)
    earlier = same.only("vector", "colour_lab", "guess").first()
    if earlier is None or earlier.vector is None:
        return None
    guess = {NOT_CLOTHES: True} if earlier.probably_not_clothes else {}  # the rest of its guess came from its search
    return QueryEmbedding(bytes(earlier.vector), earlier.colour_lab, guess)


def _open_upload(photo: UploadedPhoto, crop: Crop | None, side: int) -> Image.Image:
    if crop is not None:
        require_min_size(crop, photo.width, photo.height)  # the size of a fetched photo is known only now
    try:
        return open_photo(photo, crop, side)
    except (FileNotFoundError, UnidentifiedImageError) as error:
        raise Refused("photo_gone", "The photo is no longer there. Please send it again.", status=410) from error


@dataclass(frozen=True)
class PhotoEmbedding:
    """The result of one catalogue photo: its vector, and its colour if that was unknown; or the error."""

    photo: ItemPhoto
    vector: npt.NDArray[np.float32] | None = None
    colour_lab: list[float] | None = None
    error: Exception | None = None


def embed_missing(encoder: Encoder, seconds: float = STREAK_SECONDS) -> int:
    """Embed catalogue photos that lack a vector of a claimed encoder. Return the number of processed photos.

    Stops after `seconds`, or earlier if a query waits to be embedded. Each core decodes and embeds a few photos
    at a time, while this thread writes the ones before. The vectors of a batch are written in one transaction, or not
    at all if the claim was lost (`ClaimLost`).
    """
    embedder, lanes = embedder_of(encoder), available_cores()
    portions = takewhile(_while_idle(seconds), chunked(_missing_photos(encoder), embedder.batch_size))
    results = map_ahead(portions, lambda photos: _embed_photos(photos, embedder), threads=lanes, ahead=lanes)
    processed = 0
    for batch in chunked((result for portion in results for result in portion), BATCH):
        _write_embeddings(encoder, batch)
        processed += len(batch)
    return processed


def _while_idle(seconds: float) -> Callable[[object], bool]:
    """Return a predicate for `takewhile`: true until `seconds` have passed or a query waits to be embedded."""
    now = time.monotonic()
    end, check_at = now + seconds, now + _FIRST_CHECK_SECONDS

    def may_continue(_: object) -> bool:
        nonlocal check_at
        now = time.monotonic()
        if now < check_at:
            return now < end
        check_at = now + _CHECK_SECONDS
        return now < end and not SimilarityQuery.objects.filter(state=QueryState.QUEUED).exists()

    return may_continue


_next_full_check: dict[int, float] = {}  # by encoder: reading of time.monotonic


def is_anything_missing(encoder: Encoder) -> bool:
    """Return whether a photo lacks its vector or its colour. Exact for new photos, maybe out of date for older ones.

    A full check without a result scans all photos, so the next full check waits a hundred times as long as it took.
    """
    if encoder.missing_photos().filter(pk__gt=_newest_embedded(encoder)).exists():
        return True
    started = time.monotonic()
    if started < _next_full_check.get(encoder.pk, started):
        return False
    is_missing = encoder.missing_photos().exists() or uncoloured_photos().exists()
    now = time.monotonic()
    _next_full_check[encoder.pk] = now if is_missing else now + 100 * (now - started)
    return is_missing


def _newest_embedded(encoder: Encoder) -> int:
    return Embedding.objects.filter(encoder=encoder).aggregate(newest=Max("photo_id"))["newest"] or 0


def _missing_photos(encoder: Encoder) -> Iterator[ItemPhoto]:
    """Yield the photos that lack a vector of an encoder, page by page: new photos first, then earlier gaps.

    Nearly always only new photos lack one, and the database finds these without scanning all others.
    """
    newest, missing = _newest_embedded(encoder), encoder.missing_photos()
    for rows in (missing.filter(pk__gt=newest), missing.filter(pk__lt=newest)):
        page = list(rows[:_PAGE])
        while page:
            yield from page
            page = list(rows.filter(pk__gt=page[-1].pk)[:_PAGE])


def _embed_photos(photos: Sequence[ItemPhoto], embedder: Embedder) -> list[PhotoEmbedding]:
    """Decode and embed a few photos, and measure missing colours. Thread-safe: does not use the database."""
    opened = {photo: _picture_or_error(photo, decoded_side(embedder)) for photo in photos}
    pictures = {photo: picture for photo, picture in opened.items() if isinstance(picture, Image.Image)}
    vectors = embedder.embed(list(pictures.values()))
    results = [
        PhotoEmbedding(photo, vector, garment_colour(picture) if photo.colour_lab is None else None)
        for (photo, picture), vector in zip(pictures.items(), vectors, strict=True)
    ]
    return results + [
        PhotoEmbedding(photo, error=error) for photo, error in opened.items() if isinstance(error, Exception)
    ]


def _write_embeddings(encoder: Encoder, results: Sequence[PhotoEmbedding]) -> None:
    rows = [
        Embedding(
            photo=result.photo,
            item_id=result.photo.item_id,
            encoder=encoder,
            vector=_to_bytes(result.vector),
            source_sha256=result.photo.sha256,
        )
        for result in results
        if result.vector is not None
    ]
    with transaction.atomic():
        encoder.renew_claim()
        Embedding.objects.bulk_create(rows, ignore_conflicts=True)
        _write_colours(results)
    _write_problems(results)


def _write_colours(results: Sequence[PhotoEmbedding]) -> None:
    """Write the colours with `executemany`: Django's `bulk_update` takes ten times as long to build its SQL."""
    column = ItemPhoto._meta.get_field("colour_lab")
    assert isinstance(column, JSONField)  # noqa: S101 - for the types
    coloured = [result for result in results if result.colour_lab is not None]
    values = [(column.get_db_prep_save(result.colour_lab, connection), result.photo.pk) for result in coloured]
    with connection.cursor() as cursor:
        cursor.executemany("UPDATE catalog_itemphoto SET colour_lab = %s WHERE id = %s", values)


def _write_problems(results: Sequence[PhotoEmbedding]) -> None:
    """Write the error of a photo to its row, so that a missing file is not tried again each time."""
    for result in results:
        if result.error is not None:
            photo, problem = result.photo, f"{type(result.error).__name__}: {result.error}"
            logger.warning("Photo %s of item %s cannot be embedded: %s", photo.pk, photo.item_id, problem)
            ItemPhoto.objects.filter(pk=photo.pk).update(problem=problem[:200])


def uncoloured_photos() -> QuerySet[ItemPhoto]:
    """Return the catalogue photos without a colour, oldest first.

    A new photo gets its colour with its first vector; a photo with vectors and without a colour was embedded before
    colours were stored.
    """
    return ItemPhoto.objects.searchable().filter(colour_lab__isnull=True).order_by("id")


def colour_batch() -> int:
    """Measure the colours of the next photos without a colour; return the number of processed photos."""
    photos = list(uncoloured_photos()[:BATCH])
    opened = {photo: _picture_or_error(photo) for photo in photos}
    results = [
        PhotoEmbedding(photo, error=picture)
        if isinstance(picture, Exception)
        else PhotoEmbedding(photo, colour_lab=garment_colour(picture))
        for photo, picture in opened.items()
    ]
    _write_colours(results)
    _write_problems(results)
    return len(photos)


def _to_bytes(vector: npt.NDArray[np.float32]) -> bytes:
    return vector.astype("<f4").tobytes()


def open_photo(photo: ItemPhoto | UploadedPhoto, crop: Crop | None = None, side: int = _DECODED) -> Image.Image:
    """Decode a stored picture, or a crop of it, at a reduced scale of at least `side` pixels per side if possible.

    Raises FileNotFoundError or UnidentifiedImageError if the file is missing or damaged.
    """
    with photo.file.open("rb") as file, Image.open(file, formats=["JPEG"]) as picture:
        # `draft` decodes at a reduced scale, which is faster; the crop must still have enough pixels.
        share = (crop["width"], crop["height"]) if crop else (1.0, 1.0)
        picture.draft("RGB", (ceil(side / share[0]), ceil(side / share[1])))
        picture.load()
        return picture.crop(crop_box(crop, *picture.size)) if crop else picture.copy()


def _picture_or_error(
    photo: ItemPhoto, side: int = _DECODED
) -> Image.Image | FileNotFoundError | UnidentifiedImageError:
    try:
        return open_photo(photo, side=side)
    except (FileNotFoundError, UnidentifiedImageError) as error:
        return error
