"""Curating the catalogue: what may appear in answers."""

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
from catalog.photos.clean import clean_photo, source_hash
from catalog.photos.files import picture_store


def items_show(*, items: CatalogItemQuerySet) -> int:
    """Let items appear in answers again. Returns how many."""
    return items.update(is_active=True, updated_at=timezone.now())


def items_hide(*, items: CatalogItemQuerySet) -> int:
    """Keep items out of answers for now; earlier answers still show them. Returns how many."""
    return items.update(is_active=False, updated_at=timezone.now())


def item_delete(*, item: CatalogItem) -> None:
    """Take an item out for good. Its row stays, since earlier answers point to it."""
    item.mark_deleted()


def items_restore(*, items: CatalogItemQuerySet) -> int:
    """Undo the deletion of items, and have those of their photos embedded that came in meanwhile. Returns how many."""
    restored = items.exclude(deleted_at=None).update(deleted_at=None, updated_at=timezone.now())
    _send_embed()
    return restored


def item_photo_prepare(*, item: CatalogItem, raw: bytes) -> ItemPhoto:
    """A new photo of an item, checked and cleaned; neither its row nor its file is stored yet.

    Raises `Refused` for bytes that are no usable picture, and for a picture that the item has already.
    """
    digest = source_hash(raw)
    if ItemPhoto.objects.filter(item_id=item.pk, source_sha256=digest).exists():
        raise _known_already()
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
    """Store a prepared photo after the item's others, and have it embedded. Nothing is left of one that fails."""
    last = ItemPhoto.objects.filter(item=photo.item).aggregate(Max("position"))["position__max"]
    photo.position = 0 if last is None else last + 1
    name = photo.file.field.generate_filename(photo, f"{uuid.uuid4().hex}.jpg")
    photo.file = picture_store(name=name, content=photo.file.read())
    try:
        with transaction.atomic():
            photo.save(force_insert=True)
            _send_embed()
    except BaseException as error:
        photo.file.delete(save=False)
        if isinstance(error, IntegrityError):
            raise _known_already() from None
        raise


def item_photo_remove(*, photo: ItemPhoto) -> None:
    """Delete a photo, then its file. Earlier answers that showed it show another photo of the item.

    With the last photo of an item its places in earlier answers go as well: there is nothing left to show.
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


def _known_already() -> Refused:
    return Refused("photo_known", "The item has this picture already.")
