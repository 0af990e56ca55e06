"""Select training pairs, a user's photo and an item, from accepted triplets, without leaks from evaluation sets.

A user's photo becomes a further photo of the item that it matches.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from django.db.models import QuerySet
from django.utils import timezone

from catalog.errors import Refused
from catalog.models import Triplet, TripletState, UploadedPhoto
from catalog.photos.crops import crop_box
from catalog.photos.validation import compute_perceptual_hash
from catalog.services.datasets.rows import FLAT_HASH, HeldOut
from ml.formats.image_hash import NEAR_BITS

Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class TrainingPair:
    """A user's photo and the catalogue item that it shows. `box`: the crop in pixels; None for the whole photo."""

    anchor: UploadedPhoto
    item: int
    box: Box | None


def accepted_triplets() -> "QuerySet[Triplet]":
    """The accepted triplets with an unexpired photo whose owner consents to training."""
    usable = Triplet.objects.filter(
        state=TripletState.ACCEPTED, anchor__may_train=True, anchor__expires_at__gt=timezone.now()
    )
    return usable.order_by("id")


def training_pairs(*, held: HeldOut) -> Iterator[TrainingPair]:
    """One pair per photo, from its first accepted triplet, because a photo shows one garment.

    Leaves out triplets with an item of an evaluation set, and photos that look like a photo of one.
    """
    paired = set()
    for triplet in accepted_triplets().select_related("anchor", "positive", "negative", "query"):
        items = {triplet.positive.item_id, triplet.negative.item_id}
        if triplet.anchor_id in paired or not held.items.isdisjoint(items):
            continue
        box = _box(triplet)
        if not _may_be_held_out(triplet.anchor, box, held):
            paired.add(triplet.anchor_id)
            yield TrainingPair(triplet.anchor, triplet.positive.item_id, box)


def training_pairs_count() -> int:
    """The number of photos with an accepted triplet, including those that an evaluation set excludes."""
    return accepted_triplets().order_by().values("anchor").distinct().count()


def _box(triplet: Triplet) -> Box | None:
    crop, photo = triplet.query.crop, triplet.anchor
    if crop is None or triplet.query.photo_id != photo.pk:
        return None
    return crop_box(crop, photo.width, photo.height)


def _may_be_held_out(photo: UploadedPhoto, box: Box | None, held: HeldOut) -> bool:
    """Whether the photo, or its crop, may show a photo of an evaluation set; True when the file cannot be read."""
    if held.has_duplicate((photo.sha256, photo.source_sha256)):
        return True
    try:
        with photo.file.open("rb") as file:
            raw = file.read()
        hashes = {compute_perceptual_hash(raw), compute_perceptual_hash(raw, box)}
    except (OSError, Refused):
        return True
    held_hashes = [int(digest, 16) for digest in held.perceptual_hashes if digest != FLAT_HASH]
    # The hash also matches some different products: a missing pair does no harm, a leaked one does.
    return any((int(digest, 16) ^ other).bit_count() <= NEAR_BITS for digest in hashes for other in held_hashes)
