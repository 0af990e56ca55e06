"""Claims: a row is worked on by one worker at a time, although a message may be delivered twice."""

import uuid
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Self, TypeVar

from django.db import models
from django.utils import timezone

from catalog.errors import ClaimLost

RESEND_AFTER = timedelta(seconds=10)  # a message counts as lost when its row is still waiting after this time

Row = TypeVar("Row", bound="Claimable", covariant=True)


class ClaimableQuerySet(models.QuerySet[Row]):
    """Queries for claimed rows, and for waiting rows whose message seems lost."""

    def held_by(self, worker: str) -> Self:
        """The rows that a worker has claimed. At the start of a worker: the rows it held when it was killed."""
        return self.exclude(claim_token=None).filter(claimed_by=worker)

    def claimed_before(self, moment: datetime) -> Self:
        """The rows whose claim was not renewed since `moment`."""
        return self.exclude(claim_token=None).filter(claimed_at__lt=moment)

    def take_overdue(self, limit: int = 200) -> list[Row]:
        """Take up to `limit` of these waiting rows whose message seems lost, oldest first.

        Each row is returned once per `RESEND_AFTER`. For models with the column `nudged_at`.
        """
        now = timezone.now()
        overdue = list(self.filter(nudged_at__lte=now - RESEND_AFTER).order_by("created_at")[:limit])
        self.filter(pk__in=[row.pk for row in overdue]).update(nudged_at=now)
        return overdue


class Claimable(models.Model):
    """A row that one worker at a time may work on.

    A claim is a conditional UPDATE; the number of changed rows shows which worker won. The UPDATE that records the
    result checks the token again, so a worker that has lost its claim cannot overwrite the result of the new owner.
    """

    claim_token = models.UUIDField(null=True, blank=True, editable=False)
    claimed_by = models.CharField(max_length=200, blank=True, default="", editable=False)
    claimed_at = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        abstract = True

    def write_claimed(self, in_state: str, columns: Mapping[str, Any]) -> None:
        """Write columns of this row, claimed in the state `in_state`. Raises `ClaimLost` if the claim was lost."""
        rows: Any = type(self)._default_manager  # the models that use this method have a column `state`
        claimed = rows.filter(pk=self.pk, state=in_state, claim_token=self.claim_token)
        if self.claim_token is None or not claimed.update(**columns):
            raise ClaimLost(f"{self} was given to another worker, or deleted")
        for name, value in columns.items():
            setattr(self, name, value)


def new_claim(worker: str) -> dict[str, Any]:
    """The columns of a fresh claim by `worker`, a Celery node name."""
    return {"claim_token": uuid.uuid4(), "claimed_by": worker, "claimed_at": timezone.now()}


def no_claim() -> dict[str, Any]:
    """The columns of a row without a claim."""
    return {"claim_token": None, "claimed_by": "", "claimed_at": None}
