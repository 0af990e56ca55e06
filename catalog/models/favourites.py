"""The items that a user has saved."""

from django.db import models

from catalog.models.items import CatalogItem
from catalog.models.users import User


class Favourite(models.Model):
    """An item that a user has saved."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="favourites")
    item = models.ForeignKey(CatalogItem, on_delete=models.CASCADE, related_name="favourites")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("-created_at", "-id")
        constraints = (models.UniqueConstraint(fields=["user", "item"], name="one_favourite_per_item"),)

    def __str__(self) -> str:
        return f"{self.user_id} keeps {self.item_id}"
