"""Catalogue items and their photos, and which of them may appear in answers."""

from datetime import datetime
from typing import Any

from django.db import models
from django.utils import timezone
from django.utils.functional import cached_property


def is_findable(at: datetime | None = None, path: str = "") -> models.Q:
    """Condition: the item may appear in answers, now or at an earlier moment `at`.

    `path` leads from other rows to their items, such as "item__".
    """
    exists = models.Q((f"{path}deleted_at", None))
    if at is not None:
        exists |= models.Q((f"{path}deleted_at__gt", at))
    return exists & models.Q((f"{path}is_active", True))


class CatalogItemQuerySet(models.QuerySet["CatalogItem"]):
    """Queries for items by visibility and by the filters of a query."""

    def findable(self, at: datetime | None = None) -> "CatalogItemQuerySet":
        """The items that may appear in answers. `at` an earlier moment: also the items deleted since then."""
        return self.filter(is_findable(at))

    def matching(self, filters: dict[str, Any], at: datetime | None = None) -> "CatalogItemQuerySet":
        """The findable items that match `filters`, whose names are those of `FILTER_LOOKUPS`."""
        return self.findable(at).filter(**{FILTER_LOOKUPS[name]: value for name, value in filters.items()})

    def with_photos(self) -> "CatalogItemQuerySet":
        """Prefetch `CatalogItem.shown_photos`."""
        return self.prefetch_related(shown_photos("photos"))


def shown_photos(path: str) -> "models.Prefetch[str]":
    """Prefetch for `CatalogItem.shown_photos`; `path` leads to the items' photos, such as "item__photos"."""
    photos = ItemPhoto.objects.only("item_id", "position", "width", "height")  # the columns that answers show
    return models.Prefetch(path, photos, to_attr="shown_photos")


# The filters of a query, and the field lookup of each.
FILTER_LOOKUPS = {
    "category": "category__iexact",
    "brand": "brand__iexact",
    "gender": "gender__iexact",
    "colour": "colour__iexact",
    "min_price": "price__gte",
    "max_price": "price__lte",
    "in_stock": "in_stock",
    "collection": "collection__iexact",
}


class CatalogItem(models.Model):
    """A garment in the catalogue. Deleting is a soft delete, because earlier answers point to the row."""

    external_id = models.CharField(max_length=200, unique=True, help_text="The id in the source it was imported from.")
    name = models.CharField(max_length=300)
    category = models.CharField(max_length=100, blank=True, db_index=True)
    brand = models.CharField(max_length=100, blank=True)
    gender = models.CharField(max_length=50, blank=True)
    colour = models.CharField(max_length=50, blank=True)
    price = models.DecimalField(max_digits=12, decimal_places=2, null=True, blank=True)
    currency = models.CharField(max_length=3, blank=True, help_text="Three letters, such as EUR.")
    url = models.URLField(max_length=1000, blank=True)
    collection = models.CharField(max_length=100, blank=True, db_index=True, help_text="Such as a season.")
    in_stock = models.BooleanField(default=True, help_text="Whether it can be bought now.")
    attributes = models.JSONField(default=dict, blank=True)
    is_active = models.BooleanField(default=True, db_index=True, help_text="Untick to hide it from answers.")
    deleted_at = models.DateTimeField(null=True, blank=True, editable=False)
    changed = models.BigIntegerField(default=0, db_index=True, editable=False, help_text="Set by triggers.")
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects = CatalogItemQuerySet.as_manager()

    class Meta:
        ordering = ("id",)

    def __str__(self) -> str:
        return self.name

    @cached_property
    def shown_photos(self) -> "list[ItemPhoto]":
        """All photos in order of position; read once, or prefetched."""
        return list(self.photos.all())

    @property
    def first_photo(self) -> "ItemPhoto | None":
        """The photo that represents the item."""
        return next(iter(self.shown_photos), None)

    def mark_deleted(self) -> None:
        """Soft-delete the item."""
        self.deleted_at = timezone.now()
        self.save(update_fields=["deleted_at", "updated_at"])


def is_searchable(path: str = "") -> models.Q:
    """Condition: the photo belongs in an index. `path` leads from other rows to their photos, such as "positive__".

    The only definition of a searchable photo: its item is not deleted and its file can be read. Photos of hidden items
    are searchable, since a hidden item may be shown again at any time.
    """
    return models.Q((f"{path}item__deleted_at", None), (f"{path}problem", ""))


class ItemPhotoQuerySet(models.QuerySet["ItemPhoto"]):
    """Query for the photos that belong in an index."""

    def searchable(self) -> "ItemPhotoQuerySet":
        """The photos that are embedded, indexed and used for training; see `is_searchable`."""
        return self.filter(is_searchable())


class ItemPhoto(models.Model):
    """One photo of an item. Its file never changes: another file is another row, so its embeddings stay valid."""

    item = models.ForeignKey(CatalogItem, on_delete=models.CASCADE, related_name="photos")
    file = models.FileField(upload_to="items/%Y/%m/", max_length=300)
    source_sha256 = models.CharField(max_length=64, help_text="Of the file as it was given.")
    sha256 = models.CharField(max_length=64, db_index=True, help_text="Of the cleaned file that is stored.")
    perceptual_hash = models.CharField(max_length=16, db_index=True, help_text="64 bits, alike for alike pictures.")
    colour_lab = models.JSONField(null=True, blank=True, editable=False, help_text="The garment's in CIE L*a*b*.")
    width = models.PositiveIntegerField()
    height = models.PositiveIntegerField()
    size = models.PositiveIntegerField(help_text="Bytes.")
    position = models.PositiveSmallIntegerField(default=0, help_text="The first is the one that is shown.")
    problem = models.CharField(max_length=200, blank=True, help_text="Why it could not be embedded, if so.")
    created_at = models.DateTimeField(auto_now_add=True)

    objects = ItemPhotoQuerySet.as_manager()

    class Meta:
        ordering = ("position", "id")
        constraints = (models.UniqueConstraint(fields=["item", "source_sha256"], name="one_row_per_item_and_picture"),)

    def __str__(self) -> str:
        return f"{self.item_id}/{self.position}"
