"""Rows owned by a user account, or by a visitor: a browser session without an account."""

from typing import Any, TypeVar

from django.db import models
from django.db.models import Q

from catalog.models.users import User

Rows = TypeVar("Rows", bound=models.QuerySet[Any])


class Owned:
    """Queryset mixin for models with the columns `owner` and `visitor`."""

    def owned_by(self: Rows, *, owner: User | None = None, visitor: str = "") -> Rows:  # type: ignore[misc]  # a mixin's self
        """The rows of one owner or visitor; no rows when neither is given."""
        if owner is not None:
            return self.filter(owner=owner)
        return self.filter(owner=None, visitor=visitor) if visitor else self.none()


def one_kind_of_owner(name: str) -> models.CheckConstraint:
    """Constraint `name`: a row has either an owner or a visitor, not both."""
    account = Q(owner__isnull=False, visitor="")
    return models.CheckConstraint(condition=account | (Q(owner__isnull=True) & ~Q(visitor="")), name=name)
