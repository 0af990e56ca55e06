"""What belongs to one person: an account, or a browser without one."""

from typing import Any, TypeVar

from django.db import models
from django.db.models import Q

from catalog.models.users import User

Rows = TypeVar("Rows", bound=models.QuerySet[Any])


class Owned:
    """For the querysets of rows with the columns `owner` and `visitor`."""

    def owned_by(self: Rows, *, user: User | None = None, visitor: str = "") -> Rows:  # type: ignore[misc]  # a mixin's self
        """Those of one person; of nobody in particular, none."""
        if user is not None:
            return self.filter(owner=user)
        return self.filter(owner=None, visitor=visitor) if visitor else self.none()


def one_kind_of_owner(name: str) -> models.CheckConstraint:
    """The constraint that a row has either an account or a visitor, never both and never neither."""
    account = Q(owner__isnull=False, visitor="")
    return models.CheckConstraint(condition=account | (Q(owner__isnull=True) & ~Q(visitor="")), name=name)
