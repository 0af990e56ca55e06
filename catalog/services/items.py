"""Curate the catalogue: show, hide, delete and restore items, add and remove their photos."""

import uuid
from functools import partial

from django.core.files.base import ContentFile
from django.db import IntegrityError, transaction
from django.db.models import Max
from django.utils import timezone

from catalog import tasks
from catalog.errors import Refused
from catalog.models import CatalogItem, Encoder, ItemPhoto, Recommendation
from catalog.models.items import CatalogItemQuerySet
from catalog.photos.files import store_picture
from catalog.photos.validation import clean_photo, source_hash


def items_show(*, items: CatalogItemQuerySet) -> int:
    """Let hidden items appear in answers again. Returns how many rows were written."""
    return items.update(is_active=True, updated_at=timezone.now())


def items_hide(*, items: CatalogItemQuerySet) -> int:
    """Keep items out of new answers; earlier answers still show them. Returns how many rows were written."""
    return items.update(is_active=False, updated_at=timezone.now())


def item_delete(*, item: CatalogItem) -> None:
    """Soft-delete an item: its row stays, because earlier answers point to it."""
    item.mark_deleted()


def items_restore(*, items: CatalogItemQuerySet) -> int:
    """Undo the soft delete of items, and embed their missing photos after commit. Returns how many were restored."""
    restored = items.exclude(deleted_at=None).update(deleted_at=None, updated_at=timezone.now())
    _send_embed()
    return restored


def item_photo_prepare(*, item: CatalogItem, raw: bytes) -> ItemPhoto:
    """Check and clean a new photo of an item. Stores neither the row nor the file; see `item_photo_add`.

    Raises `Refused`: `photo_known` when the item has a photo with these bytes; the codes of `clean_photo` for bytes
    that are not a usable photo.
    """
    digest = source_hash(raw)
    if ItemPhoto.objects.filter(item_id=item.pk, source_sha256=digest).exists():
        raise _photo_known()
    clean = clean_photo(raw)
    return ItemPhoto(
        item=item,
        file=ContentFile(clean.content, name="new.jpg"),
        source_sha256=digest,
        sha256=clean.sha256,
        perceptual_hash=clean.perceptual_hash,
        width=clean.width,
        height=clean.height,
        size=len(clean.content),
    )


def item_photo_add(*, photo: ItemPhoto) -> None:
    """Store a prepared photo after the item's other photos, and embed it after commit.

    On any error no row and no file is left. Raises `Refused`: `photo_known` when another request added the same bytes.
    """
    last = ItemPhoto.objects.filter(item=photo.item).aggregate(Max("position"))["position__max"]
    photo.position = 0 if last is None else last + 1
    name = photo.file.field.generate_filename(photo, f"{uuid.uuid4().hex}.jpg")
    photo.file = store_picture(name=name, content=photo.file.read())
    try:
        with transaction.atomic():
            photo.save(force_insert=True)
            _send_embed()
    except BaseException as error:
        photo.file.delete(save=False)
        if isinstance(error, IntegrityError):
            raise _photo_known() from None
        raise


def item_photo_remove(*, photo: ItemPhoto) -> None:
    """Delete a photo in one transaction, and its file after commit. Earlier answers show another photo of the item.

    Deleting the last photo of an item deletes the item's recommendations as well, because no photo is left to show.
    """
    name, storage = photo.file.name, photo.file.storage
    with transaction.atomic():
        other = ItemPhoto.objects.filter(item=photo.item).exclude(pk=photo.pk).first()
        if other is not None:
            Recommendation.objects.filter(photo=photo).update(photo=other)
        photo.delete()
        if name:
            transaction.on_commit(partial(storage.delete, name))


def _send_embed() -> None:
    if encoder := Encoder.objects.live():
        tasks.send_embed_catalog(encoder.pk)


def _photo_known() -> Refused:
    return Refused("photo_known", "The item has this picture already.")
