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
    CANDIDATE = "candidate"  # registered, may be embedding the catalogue
    LIVE = "live"  # answers queries; one at most
    RETIRED = "retired"  # was live; its vectors stay, so it can come back


class EncoderQuerySet(ClaimableQuerySet["Encoder"]):
    def live(self) -> "Encoder | None":
        return self.filter(state=EncoderState.LIVE).first()

    def in_use(self) -> Self:
        """The encoders whose vectors are kept complete: the live one, those that may follow it, and the way back."""
        back = list(Promotion.objects.order_by("-id").values_list("previous", flat=True)[:1])
        return self.filter(~Q(state=EncoderState.RETIRED) | Q(pk__in=back), kind="metric")

    def release(self) -> int:
        """Let others embed the catalogue with these encoders."""
        return self.update(**no_claim())


class Encoder(Claimable):
    """A trained network with its preprocessing, kept as a folder; this row is what the product knows of it.

    A claim on the row is the right to embed the catalogue with it: one worker at a time writes its vectors.
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
        """Where its files are on this machine. FileNotFoundError if none of the settings' folders has it."""
        for place in settings.ENCODER_DIRS:
            if (place / self.name / "card.json").is_file():
                return Path(place / self.name)
        raise FileNotFoundError(f"No folder of encoders on this machine holds {self.name!r}.")

    def missing_photos(self) -> "models.QuerySet[ItemPhoto]":
        """The photos of the catalogue that have no vector of this encoder yet, oldest first."""
        return ItemPhoto.objects.searchable().exclude(embeddings__encoder=self).order_by("id")

    def claim(self, worker: str) -> "Encoder | None":
        """Take the right to embed the catalogue; None if another worker has it."""
        won = Encoder.objects.filter(pk=self.pk, claim_token=None).update(**new_claim(worker))
        return Encoder.objects.get(pk=self.pk) if won else None

    def renew_claim(self) -> None:
        """Say that the work goes on. ClaimLost if the claim was given to someone else meanwhile."""
        mine = type(self).objects.filter(pk=self.pk, claim_token=self.claim_token)
        # The bump comes first in the transaction that writes vectors: it locks this row, so writers go one by one
        # and the ids of the vectors appear in order. A reader that asks for "ids after the last I saw" misses none.
        if not mine.update(claimed_at=timezone.now(), revision=F("revision") + 1):
            raise ClaimLost(f"{self} is embedded by another worker now")

    def release(self) -> None:
        type(self).objects.filter(pk=self.pk, claim_token=self.claim_token).release()


class Embedding(models.Model):
    """The vector of one photo from one encoder: little-endian float32, unit length."""

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
    """A change of the live encoder, written with it: who did it, when, and why."""

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
