"""Encoders, their embeddings of the catalogue, and the history of promotions."""

from pathlib import Path
from typing import Self

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from catalog.errors import ClaimLost
from catalog.models.claims import Claimable, ClaimableQuerySet, new_claim, no_claim
from catalog.models.items import CatalogItem, ItemPhoto
from catalog.models.users import User


class EncoderState(models.TextChoices):
    """candidate -> live -> retired; a roll-back makes a retired encoder live again."""

    CANDIDATE = "candidate"  # registered, may be embedding the catalogue
    LIVE = "live"  # answers queries; at most one
    RETIRED = "retired"  # was live; keeps its embeddings, so that a roll-back needs no re-embedding


class EncoderQuerySet(ClaimableQuerySet["Encoder"]):
    """Queries for the live encoder and for the encoders that embed the catalogue."""

    def live(self) -> "Encoder | None":
        """The encoder that answers queries; None before the first promotion."""
        return self.filter(state=EncoderState.LIVE).first()

    def in_use(self) -> Self:
        """The metric encoders that embed every photo: the live one, candidates, and the target of a roll-back."""
        rollback_target = list(Promotion.objects.order_by("-id").values_list("previous", flat=True)[:1])
        return self.filter(~Q(state=EncoderState.RETIRED) | Q(pk__in=rollback_target), kind="metric")

    def release_claims(self) -> int:
        """Drop the claims, so that other workers may embed the catalogue with these encoders."""
        return self.update(**no_claim())


class Encoder(Claimable):
    """A trained network with its preprocessing. The files are in `folder`; `card` is a copy of its card.

    A claim on the row is the right to embed the catalogue: one worker at a time writes the encoder's vectors.
    """

    name = models.CharField(max_length=100, unique=True, help_text="Also the name of its folder.")
    kind = models.CharField(max_length=20)
    dim = models.PositiveIntegerField(help_text="Numbers in one embedding.")
    card = models.JSONField(default=dict)
    state = models.CharField(max_length=10, choices=EncoderState, default=EncoderState.CANDIDATE)
    revision = models.PositiveBigIntegerField(default=0, editable=False, help_text="Counts the writes of vectors.")
    created_at = models.DateTimeField(auto_now_add=True)
    promoted_at = models.DateTimeField(null=True, blank=True, editable=False)

    objects = EncoderQuerySet.as_manager()

    class Meta:
        ordering = ("-created_at",)
        constraints = (models.UniqueConstraint(fields=["state"], condition=Q(state="live"), name="one_live_encoder"),)

    def __str__(self) -> str:
        return self.name

    @property
    def folder(self) -> Path:
        """The encoder folder on this machine. Raises `FileNotFoundError` when no folder of `ENCODER_DIRS` has it."""
        for encoder_dir in settings.ENCODER_DIRS:
            if (encoder_dir / self.name / "card.json").is_file():
                return Path(encoder_dir / self.name)
        raise FileNotFoundError(
            f"The folder of encoder {self.name!r} is in no directory of ENCODER_DIRS on this machine."
        )

    def missing_photos(self) -> "models.QuerySet[ItemPhoto]":
        """The searchable photos without an embedding of this encoder, oldest first."""
        return ItemPhoto.objects.searchable().exclude(embeddings__encoder=self).order_by("id")

    def claim(self, worker: str) -> "Encoder | None":
        """Claim the right to embed the catalogue; None if another worker holds it."""
        is_claimed = Encoder.objects.filter(pk=self.pk, claim_token=None).update(**new_claim(worker))
        return Encoder.objects.get(pk=self.pk) if is_claimed else None

    def renew_claim(self) -> None:
        """Extend the claim and count a write of vectors. Raises `ClaimLost` when another worker holds the claim."""
        own_row = type(self).objects.filter(pk=self.pk, claim_token=self.claim_token)
        # This comes first in the transaction that writes vectors: it locks the row, so writers commit one by one and
        # the ids of the vectors become visible in order. A reader of "ids after the last one read" misses none.
        if not own_row.update(claimed_at=timezone.now(), revision=F("revision") + 1):
            raise ClaimLost(f"{self} is being embedded by another worker")

    def release_claim(self) -> None:
        """Drop the claim, if it is still held."""
        type(self).objects.filter(pk=self.pk, claim_token=self.claim_token).release_claims()


class Embedding(models.Model):
    """The vector of one photo by one encoder: `dim` little-endian float32 numbers of unit length."""

    photo = models.ForeignKey(ItemPhoto, on_delete=models.CASCADE, related_name="embeddings")
    item = models.ForeignKey(CatalogItem, on_delete=models.CASCADE, related_name="+")
    encoder = models.ForeignKey(Encoder, on_delete=models.CASCADE, related_name="embeddings")
    vector = models.BinaryField(help_text="dim x 4 bytes; numpy.frombuffer(vector, '<f4') reads it.")
    source_sha256 = models.CharField(max_length=64, help_text="Of the stored picture that was embedded.")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = (models.UniqueConstraint(fields=["encoder", "photo"], name="one_vector_per_photo_and_encoder"),)
        indexes = (models.Index(fields=["encoder", "id"], name="vectors_in_order"),)

    def __str__(self) -> str:
        return f"{self.encoder_id}: photo {self.photo_id}"


class Promotion(models.Model):
    """A change of the live encoder, recorded in the same transaction: by whom, when and why."""

    encoder = models.ForeignKey(Encoder, on_delete=models.SET_NULL, null=True, related_name="promotions")
    encoder_name = models.CharField(max_length=100, help_text="Stays when the encoder is deleted.")
    previous = models.ForeignKey(Encoder, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    previous_name = models.CharField(max_length=100, blank=True)
    is_rollback = models.BooleanField(default=False)
    by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    reason = models.CharField(max_length=1000, blank=True, help_text="Needed where the gate was overridden.")
    gate = models.JSONField(default=list, blank=True, help_text="What spoke against it at that moment.")
    at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ("-id",)

    def __str__(self) -> str:
        return f"{self.encoder_name}, {self.at:%Y-%m-%d %H:%M}"
