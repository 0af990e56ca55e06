"""Feedback on recommendations, and the training triplets proposed from it."""

from django.db import models
from django.db.models import Q

from catalog.models.items import ItemPhoto
from catalog.models.photos import UploadedPhoto
from catalog.models.queries import Recommendation, SimilarityQuery
from catalog.models.users import User


class Verdict(models.TextChoices):
    """Thumb up or thumb down."""

    UP = "up"
    DOWN = "down"


class Feedback(models.Model):
    """The owner's feedback on one recommendation: a verdict (thumb up or down), a click, or both."""

    recommendation = models.OneToOneField(Recommendation, on_delete=models.CASCADE, related_name="feedback")
    verdict = models.CharField(max_length=4, choices=Verdict, blank=True)
    clicked_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        verbose_name_plural = "feedback"

    def __str__(self) -> str:
        return f"{self.verdict or 'click'} on recommendation {self.recommendation_id}"


class TripletState(models.TextChoices):
    """proposed -> accepted, rejected or skipped, by a review."""

    PROPOSED = "proposed"  # derived from feedback, not reviewed yet
    ACCEPTED = "accepted"  # used by the next training runs
    REJECTED = "rejected"
    SKIPPED = "skipped"  # reviewed without a decision


class Triplet(models.Model):
    """A training triplet: a user's photo (anchor), an item photo to move nearer (positive), an item
    photo to move away (negative).

    Exists only while the photo's owner allows training (`UploadedPhoto.may_train`); deleted with the photo.
    """

    query = models.ForeignKey(SimilarityQuery, on_delete=models.CASCADE, related_name="triplets")
    anchor = models.ForeignKey(UploadedPhoto, on_delete=models.CASCADE, related_name="triplets")
    positive = models.ForeignKey(ItemPhoto, on_delete=models.CASCADE, related_name="+")
    negative = models.ForeignKey(ItemPhoto, on_delete=models.CASCADE, related_name="+")
    why = models.CharField(max_length=100, blank=True, help_text="The feedback that it comes from, in words.")
    state = models.CharField(max_length=10, choices=TripletState, default=TripletState.PROPOSED)
    reviewed_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    reviewed_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("id",)
        constraints = (
            models.UniqueConstraint(fields=["anchor", "positive", "negative"], name="a_triplet_is_proposed_once"),
        )
        indexes = (models.Index(fields=["id"], condition=Q(state="proposed"), name="triplets_to_review"),)

    def __str__(self) -> str:
        return f"triplet {self.pk}"
