"""Review of proposed triplets by staff, one at a time; each triplet is reserved for a single reviewer."""

from datetime import timedelta

from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from catalog.errors import Refused
from catalog.models import Triplet, TripletState, UploadedPhoto, User
from catalog.services.feedback.triplets import (
    photo_extend_expiry,
    photos_reset_expiry,
    triplets_propose,
    triplets_usable,
)

HOLD = timedelta(minutes=2)  # time for which a triplet is reserved for the reviewer who sees it
UNDO = timedelta(hours=1)  # time for which a decision can be undone
DECISIONS = (TripletState.ACCEPTED, TripletState.REJECTED, TripletState.SKIPPED)

# While a triplet is proposed, `reviewed_by` and `reviewed_at` name the reviewer who holds it, and since when.


def triplets_to_review() -> "QuerySet[Triplet]":
    """The usable proposed triplets in order of review, with their photos."""
    waiting = triplets_usable().filter(state=TripletState.PROPOSED).order_by("pk")
    return waiting.select_related("anchor", "query", "positive__item", "negative__item")


def triplet_take(*, by: User) -> Triplet | None:
    """Hold and return the next triplet for a reviewer; None if there is none. Atomic: a conditional UPDATE."""
    for _ in range(20):  # a concurrent reviewer may take the same triplet first
        waiting = triplets_to_review()
        held = waiting.filter(_is_held(), reviewed_by=by).order_by("-reviewed_at").first()
        triplet = held or waiting.filter(~_is_held()).first()
        if triplet is None:
            return None
        free = Triplet.objects.filter(~_is_held() | Q(reviewed_by=by), pk=triplet.pk, state=TripletState.PROPOSED)
        if free.update(reviewed_by=by, reviewed_at=timezone.now()):
            return triplet
    return None


def triplet_upcoming(*, triplet: Triplet, by: User) -> Triplet | None:
    """The triplet that the reviewer probably gets after `triplet`, to prefetch its pictures."""
    return triplets_to_review().filter(~_is_held() | Q(reviewed_by=by)).exclude(pk=triplet.pk).first()


def triplet_review(*, triplet: Triplet, state: TripletState, by: User) -> None:
    """proposed -> accepted, rejected or skipped, in one transaction. Accepting extends the expiry of the photo.

    Raises `Refused`: `already_reviewed` (409); `photo_taken_back` (410) when the owner withdrew the photo.
    """
    with transaction.atomic():
        photo = _lock_anchor(triplet)
        columns = {"state": state, "reviewed_by": by, "reviewed_at": timezone.now()}
        if not Triplet.objects.filter(pk=triplet.pk, state=TripletState.PROPOSED).update(**columns):
            raise Refused("already_reviewed", "Someone has decided about this one already.", status=409)
        if state == TripletState.ACCEPTED:
            photo_extend_expiry(photo=photo)


def triplet_undo(*, by: User) -> Triplet | None:
    """Undo the reviewer's latest decision and hold the triplet for them; None without a decision within `UNDO`.

    One transaction. Raises `Refused`: `photo_taken_back` (410) when the owner withdrew the photo.
    """
    since = timezone.now() - UNDO
    decided = Triplet.objects.filter(reviewed_by=by, state__in=DECISIONS, reviewed_at__gt=since)
    triplet = decided.order_by("-reviewed_at", "-pk").first()
    if triplet is None:
        return None
    with transaction.atomic():
        photo = _lock_anchor(triplet)
        decided.filter(pk=triplet.pk).update(state=TripletState.PROPOSED, reviewed_at=timezone.now())
        triplets_propose(photo=photo)  # the feedback may have changed since
        photos_reset_expiry(photos=UploadedPhoto.objects.filter(pk=photo.pk))
    return triplet


def triplets_unskip(*, triplets: "QuerySet[Triplet]") -> int:
    """skipped -> proposed, for another review. Returns how many."""
    skipped = triplets.filter(state=TripletState.SKIPPED)
    return skipped.update(state=TripletState.PROPOSED, reviewed_by=None, reviewed_at=None)


def review_progress() -> tuple[int, int]:
    """The number of decided triplets, and of decided and waiting triplets together."""
    decided = Triplet.objects.exclude(state=TripletState.PROPOSED).count()
    return decided, decided + triplets_to_review().count()


def _is_held() -> Q:
    return Q(reviewed_by__isnull=False, reviewed_at__gt=timezone.now() - HOLD)


def _lock_anchor(triplet: Triplet) -> UploadedPhoto:
    """The user's photo of a triplet, locked until the end of the transaction."""
    photo = UploadedPhoto.objects.select_for_update().filter(pk=triplet.anchor_id, may_train=True).first()
    if photo is None:
        raise Refused("photo_taken_back", "The owner has withdrawn this photo.", status=410)
    return photo
