"""Curating the catalogue: what may appear in answers."""

from django.utils import timezone

from catalog.models import CatalogItem
from catalog.models.items import CatalogItemQuerySet


def items_show(*, items: CatalogItemQuerySet) -> int:
    """Let items appear in answers again. Returns how many."""
    return items.update(is_active=True, updated_at=timezone.now())


def items_hide(*, items: CatalogItemQuerySet) -> int:
    """Keep items out of answers for now; earlier answers still show them. Returns how many."""
    return items.update(is_active=False, updated_at=timezone.now())


def item_delete(*, item: CatalogItem) -> None:
    """Take an item out for good. Its row stays, since earlier answers point to it."""
    item.mark_deleted()
