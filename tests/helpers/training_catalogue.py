"""A catalogue to train on: rows with pictures, enough of each category."""

import uuid
from typing import Any

from catalog.models import EvaluationItem, EvaluationSet, ItemPhoto, Triplet, TripletState, UploadedPhoto
from tests.helpers.factories import make_item, make_item_photo, make_query, make_upload


def look() -> str:
    """A perceptual hash that no other photo has."""
    return uuid.uuid4().hex[:16]


def clothes(label: str, count: int, content: bytes = b"", **attributes: Any) -> list[ItemPhoto]:
    """So many items of a category with a photo each, which all look different."""
    return [
        make_item_photo(make_item(category=label, attributes=attributes), content, perceptual_hash=look())
        for _ in range(count)
    ]


def catalogue(of_each: int = 20, labels: tuple[str, ...] = ("Hat", "Shirt")) -> dict[str, list[ItemPhoto]]:
    return {label: clothes(label, of_each) for label in labels}


def evaluated(*photos: ItemPhoto, name: str = "frozen", is_current: bool = True) -> EvaluationSet:
    """An evaluation set of the items of these photos."""
    drawn = EvaluationSet.objects.create(name=name, is_current=is_current)
    EvaluationItem.objects.bulk_create(EvaluationItem(evaluation_set=drawn, item_id=photo.item_id) for photo in photos)
    return drawn


def accepted(positive: ItemPhoto, negative: ItemPhoto, anchor: UploadedPhoto | None = None, **columns: Any) -> Triplet:
    """A reviewed triplet, of a photo that may be learned from unless another one is given."""
    anchor = anchor or make_upload(may_train=True)
    query = make_query(anchor, crop=columns.pop("crop", None))
    return Triplet.objects.create(
        **{"query": query, "anchor": anchor, "positive": positive, "negative": negative}
        | {"state": TripletState.ACCEPTED}
        | columns
    )
