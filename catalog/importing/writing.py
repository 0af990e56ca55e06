"""Writing what was read: files first, then the rows of a batch in one transaction."""

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
from catalog.photos.clean import CleanPhoto

_LAST_POSITION = 32_767  # what the column holds


@dataclass(frozen=True, slots=True)
class Picture:
    """A row with its picture. `clean` is None if the item had this picture when the batch was begun."""

    row: SourceRow
    source_sha256: str
    clean: CleanPhoto | None

    @property
    def key(self) -> tuple[str, str]:
        """A picture is the same only within an item: two items may share one, and have a photo each."""
        return self.row.item, self.source_sha256


def known_pictures(items: Iterable[str]) -> frozenset[tuple[str, str]]:
    """The pictures that these items, by external id, have already."""
    photos = ItemPhoto.objects.filter(item__external_id__in=set(items))
    return frozenset(photos.values_list("item__external_id", "source_sha256"))


class ItemWriter:
    """Writes batches, and counts what became of their rows.

    Several rows may be of one item, anywhere in the source: the first good one says what the item is, so that a source
    which contradicts itself does not change the item at every import.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.seen: set[int] = set()  # hashes: some sixty bytes an item, the only memory that grows with the source
        names = ("items_created", "items_updated", "items_unchanged", "photos_created", "photos_unchanged")
        self.counts = dict.fromkeys(names, 0)

    def write(self, pictures: list[Picture], storing: ThreadPoolExecutor) -> None:
        known = set(known_pictures(picture.row.item for picture in pictures))
        fresh = []
        for picture in pictures:
            if picture.clean is not None and picture.key not in known:
                known.add(picture.key)
                fresh.append(picture)
        photos = list(storing.map(self._stored_photo, fresh))
        with transaction.atomic():
            items = self._write_items([picture.row for picture in pictures])
            self._write_photos(zip(fresh, photos, strict=True), items)
        self.counts["photos_created"] += len(fresh)
        self.counts["photos_unchanged"] += len(pictures) - len(fresh)

    def _stored_photo(self, picture: Picture) -> ItemPhoto:
        """A photo whose file is stored, without its item and not yet saved."""
        clean = picture.clean
        assert clean is not None  # noqa: S101  only fresh pictures come here
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
        """The items of the rows by external id: created, changed or as they were."""
        found = CatalogItem.objects.filter(external_id__in={row.item for row in rows})
        items = {item.external_id: item for item in found}
        created = []
        for row in rows:
            if hash(row.item) in self.seen:
                continue
            self.seen.add(hash(row.item))
            if row.item not in items:
                items[row.item] = _new_item(row)
                created.append(items[row.item])
            elif changed := _changes(items[row.item], row.columns):
                items[row.item].save(update_fields=[*changed, "updated_at"])
                self.counts["items_updated"] += 1
            else:
                self.counts["items_unchanged"] += 1
        CatalogItem.objects.bulk_create(created)
        self.counts["items_created"] += len(created)
        return items

    def _write_photos(self, fresh: Iterable[tuple[Picture, ItemPhoto]], items: dict[str, CatalogItem]) -> None:
        photos = []
        positions = _next_positions(items.values())
        for picture, photo in fresh:
            item = items[picture.row.item]
            photo.item = item
            photo.position = min(positions.get(item.pk, 0), _LAST_POSITION)
            positions[item.pk] = photo.position + 1
            photos.append(photo)
        ItemPhoto.objects.bulk_create(photos)


def _new_item(row: SourceRow) -> CatalogItem:
    columns = {**row.columns, "name": row.columns.get("name") or row.default_name}
    columns["attributes"] = _filled(columns.get("attributes", {}))
    return CatalogItem(external_id=row.item, **columns)


def _changes(item: CatalogItem, columns: dict[str, Any]) -> list[str]:
    """Bring the item up to date and say which columns that changed. What staff decided (`is_active`) stays."""
    wanted = {name: value for name, value in columns.items() if name != "name" or value}
    wanted["attributes"] = _filled({**item.attributes, **columns.get("attributes", {})})
    wanted["deleted_at"] = None  # what the source still has is back
    changed = [name for name, value in wanted.items() if getattr(item, name) != value]
    for name in changed:
        setattr(item, name, wanted[name])
    return changed


def _filled(attributes: dict[str, Any]) -> dict[str, Any]:
    """An empty cell means that the item has no such attribute."""
    return {name: value for name, value in attributes.items() if value != ""}


def _next_positions(items: Iterable[CatalogItem]) -> dict[int, int]:
    """Where the next photo of each item comes, for those that have photos."""
    positions: dict[int, int] = {}
    for item_id, position in ItemPhoto.objects.filter(item__in=list(items)).values_list("item_id", "position"):
        positions[item_id] = max(positions.get(item_id, 0), position + 1)
    return positions
