"""What reviewed feedback adds to a training: photos of people who allow it, as further photos of the items they fit."""

from collections.abc import Iterator
from dataclasses import dataclass

from django.db.models import QuerySet
from django.utils import timezone

from catalog.errors import Refused
from catalog.models import Triplet, TripletState, UploadedPhoto
from catalog.photos.clean import compute_perceptual_hash
from catalog.photos.crops import crop_box
from catalog.services.datasets.rows import FLAT, HeldOut
from ml.formats.image_hash import NEAR_BITS

Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Pair:
    """A person's photo, and the item of the catalogue that it belongs to. `box`: the part that counts, in pixels."""

    anchor: UploadedPhoto
    item: int
    box: Box | None


def accepted_triplets() -> "QuerySet[Triplet]":
    """Those that may be learned from at this moment: accepted, with a photo that is there and whose owner allows it."""
    usable = Triplet.objects.filter(
        state=TripletState.ACCEPTED, anchor__may_train=True, anchor__expires_at__gt=timezone.now()
    )
    return usable.order_by("id")


def training_pairs(*, held: HeldOut) -> Iterator[Pair]:
    """A pair for each photo with an accepted triplet: the first one counts, since a photo shows one garment.

    None whose items, or whose photo, are in an evaluation set.
    """
    done = set()
    for triplet in accepted_triplets().select_related("anchor", "positive", "negative", "query"):
        items = {triplet.positive.item_id, triplet.negative.item_id}
        if triplet.anchor_id in done or not held.items.isdisjoint(items):
            continue
        box = _box(triplet)
        if not _shows_evaluated(triplet.anchor, box, held):
            done.add(triplet.anchor_id)
            yield Pair(triplet.anchor, triplet.positive.item_id, box)


def training_pairs_count() -> int:
    """How many photos have an accepted triplet, whether or not an evaluation set keeps them out."""
    return accepted_triplets().order_by().values("anchor").distinct().count()


def _box(triplet: Triplet) -> Box | None:
    crop, photo = triplet.query.crop, triplet.anchor
    if crop is None or triplet.query.photo_id != photo.pk:
        return None
    return crop_box(crop, photo.width, photo.height)


def _shows_evaluated(photo: UploadedPhoto, box: Box | None, held: HeldOut) -> bool:
    """Whether the photo, or the part that counts, may show a picture of an evaluation set; yes if nobody can tell."""
    if held.shows_same((photo.sha256, photo.source_sha256)):
        return True
    try:
        with photo.file.open("rb") as file:
            raw = file.read()
        looks = {compute_perceptual_hash(raw), compute_perceptual_hash(raw, box)}
    except (OSError, Refused):
        return True
    known = [int(look, 16) for look in held.looks if look != FLAT]
    # The hash also matches some different products; a pair too few does no harm.
    return any((int(look, 16) ^ other).bit_count() <= NEAR_BITS for look in looks for other in known)
