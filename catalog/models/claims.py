"""Claiming work: of several workers that were sent the same id, one wins."""

import uuid
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Self, TypeVar

from django.db import models
from django.utils import timezone

from catalog.errors import ClaimLost

NUDGE_AGAIN = timedelta(seconds=10)  # a message not acted upon for so long is sent again

Row = TypeVar("Row", bound="Claimable", covariant=True)


class ClaimableQuerySet(models.QuerySet[Row]):
    def held_by(self, worker: str) -> Self:
        """What a worker holds. At its start: what it held when it was killed."""
        return self.exclude(claim_token=None).filter(claimed_by=worker)

    def claimed_before(self, moment: datetime) -> Self:
        return self.exclude(claim_token=None).filter(claimed_at__lt=moment)

    def overdue(self, limit: int = 200) -> list[Row]:
        """Up to `limit` of these waiting rows whose message seems lost, oldest first.

        For rows with the column `nudged_at`. Each is given out once per `NUDGE_AGAIN`.
        """
        now = timezone.now()
        taken = list(self.filter(nudged_at__lte=now - NUDGE_AGAIN).order_by("created_at")[:limit])
        self.filter(pk__in=[row.pk for row in taken]).update(nudged_at=now)
        return taken


class Claimable(models.Model):
    """A row that one worker at a time may work on.

    A claim is a conditional UPDATE; the number of rows it changed says who won. Its token is checked again by the
    UPDATE that records the result, so a worker whose claim was given away meanwhile cannot write over the new owner.
    """

    claim_token = models.UUIDField(null=True, blank=True, editable=False)
    claimed_by = models.CharField(max_length=200, blank=True, default="", editable=False)
    claimed_at = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        abstract = True

    def write_claimed(self, in_state: str, columns: Mapping[str, Any]) -> None:
        """Write columns of this row, which is claimed in a state. ClaimLost if it was given to someone else."""
        rows: Any = type(self)._default_manager  # `state` is a column of those rows that are claimed by state
        mine = rows.filter(pk=self.pk, state=in_state, claim_token=self.claim_token)
        if self.claim_token is None or not mine.update(**columns):
            raise ClaimLost(f"{self} was given to another worker, or deleted")
        for name, value in columns.items():
            setattr(self, name, value)


def new_claim(worker: str) -> dict[str, Any]:
    """The columns of a fresh claim by `worker`, a Celery node name."""
    return {"claim_token": uuid.uuid4(), "claimed_by": worker, "claimed_at": timezone.now()}


def no_claim() -> dict[str, Any]:
    """The columns of a row that nobody works on."""
    return {"claim_token": None, "claimed_by": "", "claimed_at": None}
