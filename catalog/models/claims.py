"""Claiming work: of several workers that were sent the same id, one wins."""

import uuid
from datetime import datetime
from typing import Any, Self, TypeVar

from django.db import models
from django.utils import timezone

Row = TypeVar("Row", bound="Claimable", covariant=True)


class ClaimableQuerySet(models.QuerySet[Row]):
    def held_by(self, worker: str) -> Self:
        """What a worker holds. At its start: what it held when it was killed."""
        return self.exclude(claim_token=None).filter(claimed_by=worker)

    def claimed_before(self, moment: datetime) -> Self:
        return self.exclude(claim_token=None).filter(claimed_at__lt=moment)


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


def new_claim(worker: str) -> dict[str, Any]:
    """The columns of a fresh claim by `worker`, a Celery node name."""
    return {"claim_token": uuid.uuid4(), "claimed_by": worker, "claimed_at": timezone.now()}


def no_claim() -> dict[str, Any]:
    """The columns of a row that nobody works on."""
    return {"claim_token": None, "claimed_by": "", "claimed_at": None}
