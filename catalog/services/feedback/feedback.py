"""What a person makes of an answer, and whether encoders may learn from it."""

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
    """Keep what was said about one answer, and what may be learned from it; saying it twice changes nothing.

    `verdict`: None leaves what was said before, "" takes it back. `clicked`: the item was opened, which stays so.
    `may_train` is about the photo of the query, if it has one; None leaves it. Where nothing is left to keep, there
    is no row, and the returned one is unsaved. Refused if the answer was deleted at this moment.
    """
    with transaction.atomic():
        found = _locked_answer(recommendation)
        photo = _locked_photo(found.query.photo_id)
        said = _keep(found, verdict, clicked)
        if photo is not None:
            _set_consent(photo, photo.may_train if may_train is None else may_train)
            found.query.photo = photo
    said.recommendation = found
    return said


def photo_consent_set(*, photo: UploadedPhoto, may_train: bool) -> None:
    """Whether encoders may learn from one photo. A no takes back whatever was made of it."""
    with transaction.atomic():
        locked = _locked_photo(photo.pk)
        if locked is not None:
            _set_consent(locked, may_train)


def user_consent_set(*, user: User, may_train: bool) -> None:
    """Whether encoders may learn from the photos that this person sends from now on. A no is about all of them."""
    with transaction.atomic():
        User.objects.filter(pk=user.pk).update(may_train=may_train)
        user.may_train = may_train
        if not may_train:
            theirs = UploadedPhoto.objects.owned_by(user=user)
            theirs.filter(may_train=True).update(may_train=False)
            triplets_delete(photos=theirs)


def _locked_answer(recommendation: Recommendation) -> Recommendation:
    """The row as it is now, which nobody changes or deletes before us."""
    locked = Recommendation.objects.select_for_update(of=("self",)).select_related("query")
    found = locked.defer("query__vector").filter(pk=recommendation.pk).first()
    if found is None:
        raise Refused("not_found", "There is nothing at this address, or it is not yours.", status=404)
    return found


def _locked_photo(pk: UUID | None) -> UploadedPhoto | None:
    return UploadedPhoto.objects.select_for_update().filter(pk=pk).first() if pk else None


def _keep(found: Recommendation, verdict: str | None, clicked: bool) -> Feedback:
    said = Feedback.objects.filter(recommendation=found).first() or Feedback(recommendation=found)
    before = said.verdict, said.clicked_at
    if verdict is not None:
        said.verdict = verdict
    if clicked and said.clicked_at is None:
        said.clicked_at = timezone.now()
    if not said.verdict and said.clicked_at is None:
        if said.pk is not None:
            said.delete()
    elif (said.verdict, said.clicked_at) != before:
        said.save()
    return said


def _set_consent(photo: UploadedPhoto, may_train: bool) -> None:
    """Write it where it is new; the triplets follow it, and what was said."""
    if photo.may_train != may_train:
        photo.may_train = may_train
        photo.save(update_fields=["may_train"])
        if not may_train:
            triplets_delete(photos=UploadedPhoto.objects.filter(pk=photo.pk))
    if may_train:
        triplets_propose(photo=photo)
