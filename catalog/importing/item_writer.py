"""Write a batch of imported rows: picture files first, then items and photos in one transaction."""

import hashlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import transaction

from catalog.importing.rows import SourceRow
from catalog.models import CatalogItem, ItemPhoto
from catalog.photos.validation import CleanPhoto

_LAST_POSITION = 32_767  # limit of the database column


@dataclass(frozen=True, slots=True)
class ImportedPicture:
    """A row with its picture. `clean` is None if the item already had this picture when the batch started."""

    row: SourceRow
    source_sha256: str
    clean: CleanPhoto | None

    @property
    def key(self) -> tuple[str, str]:
        """Pictures are deduplicated within an item only: two items with the same picture get one photo each."""
        return self.row.item, self.source_sha256


def stored_pictures(items: Iterable[str]) -> frozenset[tuple[str, str]]:
    """The keys of the pictures that these items (external ids) already have."""
    photos = ItemPhoto.objects.filter(item__external_id__in=set(items))
    return frozenset(photos.values_list("item__external_id", "source_sha256"))


class ItemWriter:
    """Writes batches and counts created, updated and unchanged items and photos.

    Rows of one item may be anywhere in the source. The first accepted row defines the item's fields, so that an
    inconsistent source does not change the item at every import.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.item_hashes: set[int] = set()  # about 60 bytes per item: the only memory that grows with the source
        names = ("items_created", "items_updated", "items_unchanged", "photos_created", "photos_unchanged")
        self.counts = dict.fromkeys(names, 0)

    def write(self, pictures: list[ImportedPicture], storing: ThreadPoolExecutor) -> None:
        """Store the new picture files in parallel, then write items and photos in one transaction."""
        stored = set(stored_pictures(picture.row.item for picture in pictures))
        new_pictures = []
        for picture in pictures:
            if picture.clean is not None and picture.key not in stored:
                stored.add(picture.key)
                new_pictures.append(picture)
        photos = list(storing.map(self._store_photo, new_pictures))
        with transaction.atomic():
            items = self._write_items([picture.row for picture in pictures])
            self._write_photos(zip(new_pictures, photos, strict=True), items)
        self.counts["photos_created"] += len(new_pictures)
        self.counts["photos_unchanged"] += len(pictures) - len(new_pictures)

    def _store_photo(self, picture: ImportedPicture) -> ItemPhoto:
        """Store the file of a picture; returns its unsaved photo, still without an item."""
        clean = picture.clean
        assert clean is not None  # noqa: S101  only new pictures are passed
        name = hashlib.sha256("\0".join(picture.key).encode()).hexdigest()[:32]
        return ItemPhoto(
            file=default_storage.save(f"{self.folder}/{name}.jpg", ContentFile(clean.content)),
            source_sha256=picture.source_sha256,
            sha256=clean.sha256,
            perceptual_hash=clean.perceptual_hash,
            width=clean.width,
            height=clean.height,
            size=len(clean.content),
        )

    def _write_items(self, rows: list[SourceRow]) -> dict[str, CatalogItem]:
        """Create or update the items of the rows. Returns them by external id."""
        existing = CatalogItem.objects.filter(external_id__in={row.item for row in rows})
        items = {item.external_id: item for item in existing}
        created = []
        for row in rows:
            if hash(row.item) in self.item_hashes:
                continue
            self.item_hashes.add(hash(row.item))
            if row.item not in items:
                items[row.item] = _new_item(row)
                created.append(items[row.item])
            elif changed := _update_fields(items[row.item], row.columns):
                items[row.item].save(update_fields=[*changed, "updated_at"])
                self.counts["items_updated"] += 1
            else:
                self.counts["items_unchanged"] += 1
        CatalogItem.objects.bulk_create(created)
        self.counts["items_created"] += len(created)
        return items

    def _write_photos(
        self, new_pictures: Iterable[tuple[ImportedPicture, ItemPhoto]], items: dict[str, CatalogItem]
    ) -> None:
        photos = []
        positions = _next_positions(items.values())
        for picture, photo in new_pictures:
            item = items[picture.row.item]
            photo.item = item
            photo.position = min(positions.get(item.pk, 0), _LAST_POSITION)
            positions[item.pk] = photo.position + 1
            photos.append(photo)
        ItemPhoto.objects.bulk_create(photos)


def _new_item(row: SourceRow) -> CatalogItem:
    columns = {**row.columns, "name": row.columns.get("name") or row.default_name}
    columns["attributes"] = _without_empty(columns.get("attributes", {}))
    return CatalogItem(external_id=row.item, **columns)


def _update_fields(item: CatalogItem, columns: dict[str, Any]) -> list[str]:
    """Set the item's fields; returns the names of the changed fields. Staff decisions (`is_active`) are kept."""
    values = {name: value for name, value in columns.items() if name != "name" or value}
    values["attributes"] = _without_empty({**item.attributes, **columns.get("attributes", {})})
    values["deleted_at"] = None  # an item that is in the source again is restored
    changed = [name for name, value in values.items() if getattr(item, name) != value]
    for name in changed:
        setattr(item, name, values[name])
    return changed


def _without_empty(attributes: dict[str, Any]) -> dict[str, Any]:
    """Drop attributes with an empty cell."""
    return {name: value for name, value in attributes.items() if value != ""}


def _next_positions(items: Iterable[CatalogItem]) -> dict[int, int]:
    """The position after the last photo of each item, keyed by item id; items without photos are missing."""
    positions: dict[int, int] = {}
    for item_id, position in ItemPhoto.objects.filter(item__in=list(items)).values_list("item_id", "position"):
        positions[item_id] = max(positions.get(item_id, 0), position + 1)
    return positions
