"""The items that a person keeps."""

from django.db.models import QuerySet

from catalog.models import CatalogItem, Favourite, User
from catalog.models.items import shown_photos


def favourites_of(*, user: User) -> QuerySet[Favourite]:
    """Those whose item can be found; one that is hidden for a while comes back with it."""
    findable = user.favourites.filter(item__in=CatalogItem.objects.findable())
    return findable.select_related("item").prefetch_related(shown_photos("item__photos"))


def favourite_keep(*, user: User, item: CatalogItem) -> bool:
    """Keep an item. False if it was kept already."""
    return Favourite.objects.get_or_create(user=user, item=item)[1]


def favourite_drop(*, user: User, item_id: int) -> None:
    """Keep an item no longer, if it was kept."""
    user.favourites.filter(item__pk=item_id).delete()
