"""Photos uploaded by users and visitors. They are private and expire."""

import uuid
from datetime import datetime, timedelta

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from catalog.models.owned import Owned, one_kind_of_owner
from catalog.models.users import User

UPLOAD_FOLDER = "uploads/%Y/%m/"


def expiry() -> datetime:
    """The moment at which a photo uploaded now expires."""
    return timezone.now() + timedelta(days=settings.PHOTO_DAYS)


class UploadedPhotoQuerySet(Owned, models.QuerySet["UploadedPhoto"]):
    """Queries for photos by owner and expiry."""

    def unexpired(self) -> "UploadedPhotoQuerySet":
        """The photos that have not expired. Expired photos are hidden, and deleted by the next clean-up."""
        return self.filter(expires_at__gt=timezone.now())


class UploadedPhoto(models.Model):
    """A user's photo, cleaned: upright, without metadata, re-encoded. Private to its owner."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    owner = models.ForeignKey(User, on_delete=models.CASCADE, null=True, blank=True, related_name="photos")
    visitor = models.CharField(max_length=64, blank=True, help_text="A browser without an account, by its session.")
    file = models.FileField(upload_to=UPLOAD_FOLDER, max_length=300)
    source_sha256 = models.CharField(max_length=64, help_text="Of the file as it was sent.")
    sha256 = models.CharField(max_length=64, help_text="Of the cleaned file that is stored.")
    width = models.PositiveIntegerField()
    height = models.PositiveIntegerField()
    size = models.PositiveIntegerField(help_text="Bytes.")
    may_train = models.BooleanField(default=False, help_text="Whether its owner lets encoders learn from it.")
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(default=expiry, db_index=True)

    objects = UploadedPhotoQuerySet.as_manager()

    class Meta:
        ordering = ("-created_at",)
        constraints = (
            models.UniqueConstraint(
                fields=["owner", "source_sha256"], condition=Q(owner__isnull=False), name="one_row_per_user_and_picture"
            ),
            models.UniqueConstraint(
                fields=["visitor", "source_sha256"], condition=~Q(visitor=""), name="one_row_per_visitor_and_picture"
            ),
            one_kind_of_owner("a_photo_has_one_kind_of_owner"),
        )

    def __str__(self) -> str:
        return f"photo {self.id}"
