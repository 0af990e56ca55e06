"""Which kind of index answers, and which indexes servers keep for all workers together."""

from datetime import datetime, timedelta
from typing import Any, Final, Self

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from catalog.errors import ClaimLost
from catalog.models.claims import Claimable, ClaimableQuerySet, new_claim, no_claim
from catalog.models.encoders import Encoder

LEASE: Final = timedelta(seconds=15)  # much longer than a part of a change takes
TIDYING_AT_MOST: Final = timedelta(hours=1)  # who has not come back by then is thought dead
TIDY_EVERY: Final = timedelta(minutes=1)


class Backend(models.TextChoices):
    EXACT = "exact"  # in each worker's memory, shared through a file that is mapped into it
    APPROXIMATE = "approximate"  # the same, faster for many vectors
    AUTO = "auto"  # one of these two, by the number of vectors
    PGVECTOR = "pgvector"  # in the site's PostgreSQL
    QDRANT = "qdrant"  # in a Qdrant at QDRANT_URL


SHARED: Final = (Backend.PGVECTOR, Backend.QDRANT)


class SearchChoice(models.Model):
    """One row, once somebody has chosen which kind of index answers; every worker looks at it each second."""

    backend = models.CharField(max_length=20, choices=Backend)
    at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return str(self.backend)

    @classmethod
    def current(cls) -> Backend:
        """What answers: the choice, or what the settings say of a site where nobody chose."""
        chosen = cls.objects.filter(pk=1).values_list("backend", flat=True).first()
        return Backend(chosen or settings.SEARCH_BACKEND)

    @classmethod
    def choose(cls, backend: Backend) -> None:
        cls.objects.update_or_create(pk=1, defaults={"backend": backend, "at": timezone.now()})


class SharedIndexQuerySet(ClaimableQuerySet["SharedIndex"]):
    def of(self, encoder: Encoder, backend: Backend) -> "SharedIndex":
        """The row of an encoder's index, made if need be."""
        known = {"encoder_name": encoder.name, "dim": encoder.dim}
        return self.select_related("encoder").get_or_create(encoder=encoder, backend=backend, defaults=known)[0]

    def release(self) -> int:
        """Let others write to them."""
        return self.update(**no_claim())

    def ready(self) -> Self:
        return self.exclude(ready_at=None)


class SharedIndex(Claimable):
    """An index that a server keeps for all workers, for as long as it is to be kept up to date.

    A claim on the row is the right to bring it up to date: one process at a time, on whatever machine.
    """

    # Without an encoder, since that was deleted, it waits for being taken away.
    encoder = models.ForeignKey(Encoder, on_delete=models.SET_NULL, null=True, related_name="+")
    encoder_name = models.CharField(max_length=100)
    dim = models.PositiveIntegerField()
    backend = models.CharField(max_length=20, choices=Backend)
    ready_at = models.DateTimeField(null=True, help_text="Since when it has every vector, and so may answer.")
    tidy_after = models.DateTimeField(default=timezone.now, help_text="When it is to be tidied up the next time.")

    objects = SharedIndexQuerySet.as_manager()

    class Meta:
        constraints = (models.UniqueConstraint(fields=["encoder", "backend"], name="one_index_per_encoder_and_kind"),)

    def __str__(self) -> str:
        return f"{self.backend} index of {self.encoder_name}"

    def claim(self, worker: str) -> bool:
        """Take the right to write to it. A claim that was not renewed for `LEASE` is anybody's."""
        claim = new_claim(worker)
        free = Q(claim_token=None) | Q(claimed_at__lt=timezone.now() - LEASE)
        if not SharedIndex.objects.filter(free, pk=self.pk).update(**claim):
            return False
        self._take(claim)
        return True

    def renew_claim(self) -> None:
        """Say that the work goes on. ClaimLost if the claim was given to someone else meanwhile."""
        self._write_as_owner({"claimed_at": timezone.now()})

    def release(self) -> None:
        SharedIndex.objects.filter(pk=self.pk, claim_token=self.claim_token).release()

    def mark_ready(self) -> None:
        """It has every vector. ClaimLost as above."""
        self._write_as_owner({"ready_at": timezone.now()})

    def mark_unready(self) -> None:
        """From the next second on no worker asks it any more."""
        SharedIndex.objects.filter(pk=self.pk).update(ready_at=None)
        self.ready_at = None

    def claim_tidying(self) -> bool:
        """Whether it is time to tidy up, and nobody else does so."""
        due = SharedIndex.objects.ready().filter(pk=self.pk, tidy_after__lt=timezone.now())
        return bool(due.update(tidy_after=timezone.now() + TIDYING_AT_MOST))

    def end_tidying(self) -> None:
        SharedIndex.objects.filter(pk=self.pk).update(tidy_after=timezone.now() + TIDY_EVERY)

    def _write_as_owner(self, columns: dict[str, datetime]) -> None:
        mine = SharedIndex.objects.filter(pk=self.pk, claim_token=self.claim_token)
        if self.claim_token is None or not mine.update(**columns):
            raise ClaimLost(f"The {self} is written by another worker now")
        self._take(columns)

    def _take(self, columns: dict[str, Any]) -> None:
        for name, value in columns.items():
            setattr(self, name, value)
