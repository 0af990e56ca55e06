"""The items that a user has saved as favourites."""

from django.db.models import QuerySet

from catalog.models import CatalogItem, Favourite, User
from catalog.models.items import shown_photos


def favourites_of(*, user: User) -> QuerySet[Favourite]:
    """The favourites of a user whose item may appear in answers; the others are kept and hidden."""
    findable = user.favourites.filter(item__in=CatalogItem.objects.findable())
    return findable.select_related("item").prefetch_related(shown_photos("item__photos"))


def favourite_add(*, user: User, item: CatalogItem) -> bool:
    """Save an item. Idempotent; returns whether it is new."""
    return Favourite.objects.get_or_create(user=user, item=item)[1]


def favourite_remove(*, user: User, item_id: int) -> None:
    """Remove an item from the favourites. Idempotent."""
    user.favourites.filter(item__pk=item_id).delete()
