"""Pictures into vectors: those of a query, and all of the catalogue."""

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
from catalog.photos.crops import Crop, crop_box, require_large_enough
from ml.images.pictures import work_ahead
from ml.inference.embedder import Embedder
from ml.runtime.load import pixel_batches
from ml.runtime.types import available_cores
from ml.vectors import unit_rows
from worker.encoders.loaded import embedder_of

BATCH: Final = 32  # photos of the catalogue whose vectors are written at once
STREAK_SECONDS: Final = 5.0  # of embedding the catalogue per message; much less than a claim is good for

_PORTIONS_AHEAD = 2  # for each core: enough to have something to do while vectors are written
_FIRST_ASK_SECONDS = 0.1  # without any work in between, nothing would be done while many people ask
_ASK_SECONDS = 0.02  # how often it is asked then whether a person's photo waits
_PAGE = 256  # rows of photos that are read at once
_DECODED = 512  # px a side at least, if the picture has as many: enough for the colour, and for those who look at it
_DECODED_SHARE = 1.5  # of the sides that an encoder reads; its resize then still averages, and no vector moves (tested)

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
        raise IllegalTransition(f"{query} has no photo yet")
    photos = [query.photo, *query.other_photos]
    if not anew and len(photos) == 1 and (earlier := _seen_before(query, encoder)):
        return earlier
    embedder = embedder_of(encoder)
    return _seen_garment([_picture_of(photo, query.crop, decoded_side(embedder)) for photo in photos], embedder)


def decoded_side(embedder: Embedder) -> int:
    """Pixels a side at least that an encoder wants of a picture, if it has as many."""
    return ceil(_DECODED_SHARE * max(embedder.card.preprocessing.height, embedder.card.preprocessing.width))


def _seen_garment(pictures: list[Image.Image], embedder: Embedder) -> Seen:
    vectors, ood_score = embedder.embed_with_ood(pixel_batches(pictures, embedder.card.preprocessing))
    limit = embedder.card.ood_threshold
    strange = limit is not None and ood_score is not None and bool(limit.not_clothes(ood_score).all())
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


def _picture_of(photo: UploadedPhoto, crop: Crop | None, side: int) -> Image.Image:
    if crop is not None:
        require_large_enough(crop, photo.width, photo.height)  # a photo that was fetched is known only now
    try:
        return open_photo(photo, crop, side)
    except (FileNotFoundError, UnidentifiedImageError) as error:
        raise Refused("photo_gone", "The photo is no longer there. Please send it again.", status=410) from error


@dataclass(frozen=True)
class _Look:
    """What came of one photo of the catalogue: its vector, and its colour if that was unknown; or why there is none."""

    photo: ItemPhoto
    vector: npt.NDArray[np.float32] | None = None
    colour_lab: list[float] | None = None
    problem: Exception | None = None


def embed_missing(encoder: Encoder, seconds: float = STREAK_SECONDS) -> int:
    """Embed photos of the catalogue that a claimed encoder has not seen. Returns how many were dealt with.

    It goes on for so many seconds, but stops as soon as a person's photo waits. Each core decodes and embeds a few
    photos at a time, while this thread writes those before. The vectors of a batch are written in one transaction, or
    not at all if the claim was lost (`ClaimLost`).
    """
    embedder, lanes = embedder_of(encoder), available_cores()
    portions = takewhile(_nobody_waits(seconds), chunked(_missing_photos(encoder), embedder.portion))
    looks = work_ahead(portions, lambda photos: _look_at_photos(photos, embedder), threads=lanes, ahead=lanes)
    dealt_with = 0
    for batch in chunked((look for portion in looks for look in portion), BATCH):
        _write_looks(encoder, batch)
        dealt_with += len(batch)
    return dealt_with


def _nobody_waits(seconds: float) -> Callable[[object], bool]:
    """Return what says whether to go on: for so many seconds, and while no person's photo waits to be begun with."""
    now = time.monotonic()
    end, ask_at = now + seconds, now + _FIRST_ASK_SECONDS

    def go_on(_: object) -> bool:
        nonlocal ask_at
        now = time.monotonic()
        if now < ask_at:
            return now < end
        ask_at = now + _ASK_SECONDS
        return now < end and not SimilarityQuery.objects.filter(state=QueryState.QUEUED).exists()

    return go_on


_look_again_at: dict[int, float] = {}  # by encoder


def is_anything_missing(encoder: Encoder) -> bool:
    """Whether a photo waits for its vector or its colour: of new ones for sure, of all others as of a while ago.

    To find that nothing is missing among many photos takes long, so that is not done again before a hundred times as
    long is over.
    """
    if encoder.missing_photos().filter(pk__gt=_newest_seen(encoder)).exists():
        return True
    started = time.monotonic()
    if started < _look_again_at.get(encoder.pk, started):
        return False
    found = encoder.missing_photos().exists() or uncoloured_photos().exists()
    now = time.monotonic()
    _look_again_at[encoder.pk] = now if found else now + 100 * (now - started)
    return found


def _newest_seen(encoder: Encoder) -> int:
    return Embedding.objects.filter(encoder=encoder).aggregate(newest=Max("photo_id"))["newest"] or 0


def _missing_photos(encoder: Encoder) -> Iterator[ItemPhoto]:
    """The photos that an encoder has not seen, page by page: first the new ones, then what was left out before.

    Nearly always there are only new ones, and to find them the database need not go through all the others.
    """
    newest, missing = _newest_seen(encoder), encoder.missing_photos()
    for rows in (missing.filter(pk__gt=newest), missing.filter(pk__lt=newest)):
        page = list(rows[:_PAGE])
        while page:
            yield from page
            page = list(rows.filter(pk__gt=page[-1].pk)[:_PAGE])


def _look_at_photos(photos: Sequence[ItemPhoto], embedder: Embedder) -> list[_Look]:
    """Decode, embed and colour a few photos. For many threads: it does not touch the database."""
    seen = {photo: _picture_or_error(photo, decoded_side(embedder)) for photo in photos}
    pictures = {photo: picture for photo, picture in seen.items() if isinstance(picture, Image.Image)}
    vectors = embedder.embed(list(pictures.values()))
    looks = [
        _Look(photo, vector, garment_colour(picture) if photo.colour_lab is None else None)
        for (photo, picture), vector in zip(pictures.items(), vectors, strict=True)
    ]
    return looks + [_Look(photo, problem=error) for photo, error in seen.items() if isinstance(error, Exception)]


def _write_looks(encoder: Encoder, looks: Sequence[_Look]) -> None:
    rows = [
        Embedding(
            photo=look.photo,
            item_id=look.photo.item_id,
            encoder=encoder,
            vector=_as_stored(look.vector),
            source_sha256=look.photo.sha256,
        )
        for look in looks
        if look.vector is not None
    ]
    with transaction.atomic():
        encoder.renew_claim()
        Embedding.objects.bulk_create(rows, ignore_conflicts=True)
        _write_colours(looks)
    _note_problems(looks)


def _write_colours(looks: Sequence[_Look]) -> None:
    """One statement, run for each: Django's `bulk_update` takes ten times as long to write its own."""
    column = ItemPhoto._meta.get_field("colour_lab")
    assert isinstance(column, JSONField)  # noqa: S101 - for the types
    coloured = [look for look in looks if look.colour_lab is not None]
    values = [(column.get_db_prep_save(look.colour_lab, connection), look.photo.pk) for look in coloured]
    with connection.cursor() as cursor:
        cursor.executemany("UPDATE catalog_itemphoto SET colour_lab = %s WHERE id = %s", values)


def _note_problems(looks: Sequence[_Look]) -> None:
    """Note on its row why a photo has no vector, so that one lost file is not asked for again and again."""
    for look in looks:
        if look.problem is not None:
            photo, problem = look.photo, f"{type(look.problem).__name__}: {look.problem}"
            logger.warning("Photo %s of item %s cannot be embedded: %s", photo.pk, photo.item_id, problem)
            ItemPhoto.objects.filter(pk=photo.pk).update(problem=problem[:200])


def uncoloured_photos() -> QuerySet[ItemPhoto]:
    """The photos of the catalogue whose colour nobody knows, oldest first: new ones, and those of before there was any.

    A new one gets its colour with its first vector, so what has all its vectors and is still here is of then.
    """
    return ItemPhoto.objects.searchable().filter(colour_lab__isnull=True).order_by("id")


def colour_batch() -> int:
    """Look up the colours of the next photos without one. Returns how many were dealt with."""
    photos = list(uncoloured_photos()[:BATCH])
    seen = {photo: _picture_or_error(photo) for photo in photos}
    looks = [
        _Look(photo, problem=picture)
        if isinstance(picture, Exception)
        else _Look(photo, colour_lab=garment_colour(picture))
        for photo, picture in seen.items()
    ]
    _write_colours(looks)
    _note_problems(looks)
    return len(photos)


def _as_stored(vector: npt.NDArray[np.float32]) -> bytes:
    return vector.astype("<f4").tobytes()


def open_photo(photo: ItemPhoto | UploadedPhoto, crop: Crop | None = None, side: int = _DECODED) -> Image.Image:
    """The stored picture, or a part of it, decoded, with at least `side` pixels a side if it has as many.

    FileNotFoundError or UnidentifiedImageError if lost or broken.
    """
    with photo.file.open("rb") as file, Image.open(file, formats=["JPEG"]) as picture:
        # The decoder leaves out what no encoder looks at; of a part that is wanted it has to leave enough.
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
