"""Feedback on recommendations, and the consent to use photos for training."""

from uuid import UUID

from django.db import transaction
from django.utils import timezone

from catalog.errors import Refused
from catalog.models import Feedback, Recommendation, UploadedPhoto, User
from catalog.services.feedback.triplets import triplets_delete, triplets_propose


def feedback_give(
    *,
    recommendation: Recommendation,
    verdict: str | None = None,
    clicked: bool = False,
    may_train: bool | None = None,
) -> Feedback:
    """Save feedback on a recommendation and update the photo's training triplets, atomically. Idempotent.

    `verdict`: None leaves the verdict unchanged, "" removes it. `clicked`: the item was opened; a click is never
    removed. `may_train`: consent for the photo of the query, if it has one; None leaves it unchanged.

    Returns the feedback: an unsaved one when there is neither a verdict nor a click.
    Raises `Refused`: `not_found` (404) when the recommendation was deleted.
    """
    with transaction.atomic():
        locked = _lock_recommendation(recommendation)
        photo = _lock_photo(locked.query.photo_id)
        feedback = _save(locked, verdict, clicked)
        if photo is not None:
            _set_consent(photo, photo.may_train if may_train is None else may_train)
            locked.query.photo = photo
    feedback.recommendation = locked
    return feedback


def photo_consent_set(*, photo: UploadedPhoto, may_train: bool) -> None:
    """Set the training consent of one photo, atomically. Withdrawing it deletes the photo's triplets."""
    with transaction.atomic():
        locked = _lock_photo(photo.pk)
        if locked is not None:
            _set_consent(locked, may_train)


def user_consent_set(*, user: User, may_train: bool) -> None:
    """Set the training consent for a user's future photos, atomically. Withdrawing it applies to all photos."""
    with transaction.atomic():
        User.objects.filter(pk=user.pk).update(may_train=may_train)
        user.may_train = may_train
        if not may_train:
            photos = UploadedPhoto.objects.owned_by(owner=user)
            photos.filter(may_train=True).update(may_train=False)
            triplets_delete(photos=photos)


def _lock_recommendation(recommendation: Recommendation) -> Recommendation:
    """The current row, locked until the end of the transaction."""
    rows = Recommendation.objects.select_for_update(of=("self",)).select_related("query")
    locked = rows.defer("query__vector").filter(pk=recommendation.pk).first()
    if locked is None:
        raise Refused("not_found", "There is nothing at this address, or it is not yours.", status=404)
    return locked


def _lock_photo(pk: UUID | None) -> UploadedPhoto | None:
    return UploadedPhoto.objects.select_for_update().filter(pk=pk).first() if pk else None


def _save(recommendation: Recommendation, verdict: str | None, clicked: bool) -> Feedback:
    """Write the feedback where it changes, or delete its row when nothing is left."""
    existing = Feedback.objects.filter(recommendation=recommendation).first()
    feedback = existing or Feedback(recommendation=recommendation)
    before = feedback.verdict, feedback.clicked_at
    if verdict is not None:
        feedback.verdict = verdict
    if clicked and feedback.clicked_at is None:
        feedback.clicked_at = timezone.now()
    if not feedback.verdict and feedback.clicked_at is None:
        if existing is not None:
            feedback.delete()
    elif (feedback.verdict, feedback.clicked_at) != before:
        feedback.save()
    return feedback


def _set_consent(photo: UploadedPhoto, may_train: bool) -> None:
    """Write the consent where it changes, and bring the triplets in line with it and with the feedback."""
    if photo.may_train != may_train:
        photo.may_train = may_train
        photo.save(update_fields=["may_train"])
        if not may_train:
            triplets_delete(photos=UploadedPhoto.objects.filter(pk=photo.pk))
    if may_train:
        triplets_propose(photo=photo)
