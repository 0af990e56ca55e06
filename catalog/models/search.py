"""The chosen search backend, and the shared indexes that servers keep for all workers."""

from datetime import datetime, timedelta
from typing import Any, Final, Self

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from catalog.errors import ClaimLost
from catalog.models.claims import Claimable, ClaimableQuerySet, new_claim, no_claim
from catalog.models.encoders import Encoder

LEASE: Final = timedelta(seconds=15)  # of a claim; writing one batch takes far less
COMPACTION_TIMEOUT: Final = timedelta(hours=1)  # after which another process may compact
COMPACTION_INTERVAL: Final = timedelta(minutes=1)


class Backend(models.TextChoices):
    """The search backends."""

    EXACT = "exact"  # in memory, shared by the workers of a machine through memory-mapped files
    APPROXIMATE = "approximate"  # in memory, faster for many vectors
    AUTO = "auto"  # exact or approximate, by the number of vectors
    PGVECTOR = "pgvector"  # in the site's PostgreSQL
    QDRANT = "qdrant"  # in a Qdrant at QDRANT_URL


SHARED: Final = (Backend.PGVECTOR, Backend.QDRANT)
"""Backends whose indexes are on a server."""


class SearchChoice(models.Model):
    """The chosen backend: one row, or none before the first choice. Every worker reads it once a second."""

    backend = models.CharField(max_length=20, choices=Backend)
    at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return str(self.backend)

    @classmethod
    def current(cls) -> Backend:
        """The backend that answers: the choice, or the setting SEARCH_BACKEND before the first one."""
        choice = cls.objects.filter(pk=1).values_list("backend", flat=True).first()
        return Backend(choice or settings.SEARCH_BACKEND)

    @classmethod
    def choose(cls, backend: Backend) -> None:
        """Make `backend` the search backend of all workers, within a second. Fill its indexes first."""
        cls.objects.update_or_create(pk=1, defaults={"backend": backend, "at": timezone.now()})


class SharedIndexQuerySet(ClaimableQuerySet["SharedIndex"]):
    """Queries for the rows of shared indexes."""

    def get_or_create_for(self, encoder: Encoder, backend: Backend) -> "SharedIndex":
        """Get or create the row of an encoder's index."""
        defaults = {"encoder_name": encoder.name, "dim": encoder.dim}
        return self.select_related("encoder").get_or_create(encoder=encoder, backend=backend, defaults=defaults)[0]

    def release_claims(self) -> int:
        """Drop the claims; return how many rows there were."""
        return self.update(**no_claim())

    def ready(self) -> Self:
        """The indexes that may answer."""
        return self.exclude(ready_at=None)


class SharedIndex(Claimable):
    """An index on a server that workers keep up to date.

    A claim on the row is the right to write to the index: one process at a time, on any machine.
    """

    # None: the encoder was deleted, and a worker will remove the index.
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
        """Claim the right to write to the index; return whether it was free. A claim expires after `LEASE`."""
        claim = new_claim(worker)
        free = Q(claim_token=None) | Q(claimed_at__lt=timezone.now() - LEASE)
        if not SharedIndex.objects.filter(free, pk=self.pk).update(**claim):
            return False
        self._set(claim)
        return True

    def renew_claim(self) -> None:
        """Renew the claim. Raises `ClaimLost` if another process has it."""
        self._write_as_owner({"claimed_at": timezone.now()})

    def release_claim(self) -> None:
        """Drop the claim, if it is still held."""
        SharedIndex.objects.filter(pk=self.pk, claim_token=self.claim_token).release_claims()

    def mark_ready(self) -> None:
        """Let the index answer: it has every vector. Raises `ClaimLost`."""
        self._write_as_owner({"ready_at": timezone.now()})

    def mark_unready(self) -> None:
        """Stop workers from searching the index, from the next second on."""
        SharedIndex.objects.filter(pk=self.pk).update(ready_at=None)
        self.ready_at = None

    def claim_compaction(self) -> bool:
        """Claim the compaction of the index; return whether it is due and no other process does it."""
        due_index = SharedIndex.objects.ready().filter(pk=self.pk, tidy_after__lt=timezone.now())
        return bool(due_index.update(tidy_after=timezone.now() + COMPACTION_TIMEOUT))

    def end_compaction(self) -> None:
        """Schedule the next compaction."""
        SharedIndex.objects.filter(pk=self.pk).update(tidy_after=timezone.now() + COMPACTION_INTERVAL)

    def _write_as_owner(self, columns: dict[str, datetime]) -> None:
        claimed = SharedIndex.objects.filter(pk=self.pk, claim_token=self.claim_token)
        if self.claim_token is None or not claimed.update(**columns):
            raise ClaimLost(f"The {self} was claimed by another worker.")
        self._set(columns)

    def _set(self, columns: dict[str, Any]) -> None:
        for name, value in columns.items():
            setattr(self, name, value)
