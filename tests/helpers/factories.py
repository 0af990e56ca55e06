"""Factories of model instances: valid and unique by default; a test names only the columns that matter to it."""

import io
import itertools
import uuid
from typing import Any

import numpy as np
from django.core.files.base import ContentFile
from PIL import Image

from catalog.models import (
    CatalogItem,
    Embedding,
    Encoder,
    ItemPhoto,
    SimilarityQuery,
    TrainingRun,
    UploadedPhoto,
    User,
)

DIM = 4

_numbers = itertools.count(1)


def jpeg(colour: str = "navy", size: tuple[int, int] = (60, 80)) -> bytes:
    """Return a JPEG of one colour."""
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, "JPEG")
    return buffer.getvalue()


def unit(*numbers: float) -> np.ndarray:
    """Return the float32 unit vector in a direction, padded with zeros to `DIM`."""
    vector = np.zeros(DIM, dtype="<f4")
    vector[: len(numbers)] = numbers
    return vector / np.linalg.norm(vector)


def make_user(name: str = "", **columns: Any) -> User:
    return User.objects.create_user(username=name or f"user-{next(_numbers)}", password="long enough 1", **columns)


def make_item(**columns: Any) -> CatalogItem:
    number = next(_numbers)
    return CatalogItem.objects.create(**{"external_id": f"item-{number}", "name": f"Item {number}", **columns})


def make_item_photo(item: CatalogItem | None = None, content: bytes = b"", **columns: Any) -> ItemPhoto:
    photo = ItemPhoto(item=item or make_item(), **_picture_columns(), perceptual_hash="0" * 16)
    for name, value in columns.items():
        setattr(photo, name, value)
    photo.file.save("photo.jpg", ContentFile(content or jpeg()), save=False)
    photo.save()
    return photo


def make_encoder(name: str = "", **columns: Any) -> Encoder:
    return Encoder.objects.create(
        **{"name": name or f"encoder-{next(_numbers)}", "kind": "metric", "dim": DIM, **columns}
    )


def make_run(**columns: Any) -> TrainingRun:
    """Create a training run, by default queued."""
    return TrainingRun.objects.create(**{"name": f"run-{next(_numbers)}", **columns})


def make_embedding(encoder: Encoder, vector: np.ndarray, photo: ItemPhoto | None = None) -> Embedding:
    photo = photo or make_item_photo()
    return Embedding.objects.create(
        encoder=encoder, photo=photo, item=photo.item, vector=vector.astype("<f4").tobytes(), source_sha256=photo.sha256
    )


def make_upload(owner: User | None = None, visitor: str = "", content: bytes = b"", **columns: Any) -> UploadedPhoto:
    if owner is None and not visitor:
        owner = make_user()
    photo = UploadedPhoto(owner=owner, visitor=visitor, **_picture_columns(), **columns)
    photo.file.save(f"{photo.id}.jpg", ContentFile(content or jpeg()), save=False)
    photo.save()
    return photo


def make_query(photo: UploadedPhoto | None = None, **columns: Any) -> SimilarityQuery:
    """Create a query of the photo's owner; without `photo`, `item` or `source_url` the source is a new upload."""
    if photo is None and "item" not in columns and "source_url" not in columns:
        photo = make_upload()
    if photo is not None:
        columns = {"owner": photo.owner, "visitor": photo.visitor} | columns
    elif "visitor" not in columns:
        columns = {"owner": make_user()} | columns
    return SimilarityQuery.objects.create(photo=photo, **columns)


def _picture_columns() -> dict[str, Any]:
    return {"source_sha256": uuid.uuid4().hex * 2, "sha256": uuid.uuid4().hex * 2, "width": 60, "height": 80, "size": 9}
