"""A catalogue that is large enough to train on, evaluation sets and accepted triplets."""

import uuid
from typing import Any

from catalog.models import EvaluationItem, EvaluationSet, ItemPhoto, Triplet, TripletState, UploadedPhoto
from tests.helpers.factories import make_item, make_item_photo, make_query, make_upload


def unique_hash() -> str:
    """Return a unique perceptual hash."""
    return uuid.uuid4().hex[:16]


def make_clothes(label: str, count: int, content: bytes = b"", **attributes: Any) -> list[ItemPhoto]:
    """Create `count` items of a category with one photo each, all with different perceptual hashes."""
    return [
        make_item_photo(make_item(category=label, attributes=attributes), content, perceptual_hash=unique_hash())
        for _ in range(count)
    ]


def make_catalogue(of_each: int = 20, labels: tuple[str, ...] = ("Hat", "Shirt")) -> dict[str, list[ItemPhoto]]:
    """Create `of_each` items per label; returns their photos by label."""
    return {label: make_clothes(label, of_each) for label in labels}


def make_evaluation_set(*photos: ItemPhoto, name: str = "frozen", is_current: bool = True) -> EvaluationSet:
    """Create an evaluation set with the items of the photos."""
    evaluation_set = EvaluationSet.objects.create(name=name, is_current=is_current)
    EvaluationItem.objects.bulk_create(
        EvaluationItem(evaluation_set=evaluation_set, item_id=photo.item_id) for photo in photos
    )
    return evaluation_set


def make_accepted_triplet(
    positive: ItemPhoto, negative: ItemPhoto, anchor: UploadedPhoto | None = None, **columns: Any
) -> Triplet:
    """Create an accepted triplet; the default anchor is a photo with consent."""
    anchor = anchor or make_upload(may_train=True)
    query = make_query(anchor, crop=columns.pop("crop", None))
    return Triplet.objects.create(
        **{"query": query, "anchor": anchor, "positive": positive, "negative": negative}
        | {"state": TripletState.ACCEPTED}
        | columns
    )
