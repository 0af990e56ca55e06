"""Staff's look at the triplets that feedback proposes: one after the other, never two people at the same one."""

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

HOLD = timedelta(minutes=2)  # what somebody looks at is shown to nobody else for so long
UNDO = timedelta(hours=1)  # a decision can be taken back for so long
DECISIONS = (TripletState.ACCEPTED, TripletState.REJECTED, TripletState.SKIPPED)

# Of a triplet that is still proposed `reviewed_by` and `reviewed_at` say who looks at it, and since when.


def triplets_to_review() -> "QuerySet[Triplet]":
    waiting = triplets_usable().filter(state=TripletState.PROPOSED).order_by("pk")
    return waiting.select_related("anchor", "query", "positive__item", "negative__item")


def triplet_take(*, by: User) -> Triplet | None:
    """The next one for this person to look at, held for them; None if there is none."""
    for _ in range(20):  # others may be faster, but not for ever
        waiting = triplets_to_review()
        held = waiting.filter(_is_held(), reviewed_by=by).order_by("-reviewed_at").first()
        triplet = held or waiting.filter(~_is_held()).first()
        if triplet is None:
            return None
        mine = Triplet.objects.filter(~_is_held() | Q(reviewed_by=by), pk=triplet.pk, state=TripletState.PROPOSED)
        if mine.update(reviewed_by=by, reviewed_at=timezone.now()):
            return triplet
    return None


def triplet_upcoming(*, triplet: Triplet, by: User) -> Triplet | None:
    """Which one this person probably gets next: its pictures can be fetched in advance."""
    return triplets_to_review().filter(~_is_held() | Q(reviewed_by=by)).exclude(pk=triplet.pk).first()


def triplet_review(*, triplet: Triplet, state: TripletState, by: User) -> None:
    """proposed -> accepted, rejected or skipped. Refused if someone else was faster, or the photo was taken back."""
    with transaction.atomic():
        photo = _locked_anchor(triplet)
        columns = {"state": state, "reviewed_by": by, "reviewed_at": timezone.now()}
        if not Triplet.objects.filter(pk=triplet.pk, state=TripletState.PROPOSED).update(**columns):
            raise Refused("already_reviewed", "Someone has decided about this one already.", status=409)
        if state == TripletState.ACCEPTED:
            photo_extend_expiry(photo=photo)


def triplet_undo(*, by: User) -> Triplet | None:
    """Take back this person's latest decision, and hold it for them again; None without one in the last hour."""
    since = timezone.now() - UNDO
    last = Triplet.objects.filter(reviewed_by=by, state__in=DECISIONS, reviewed_at__gt=since)
    triplet = last.order_by("-reviewed_at", "-pk").first()
    if triplet is None:
        return None
    with transaction.atomic():
        photo = _locked_anchor(triplet)
        last.filter(pk=triplet.pk).update(state=TripletState.PROPOSED, reviewed_at=timezone.now())
        triplets_propose(photo=photo)  # the person may have thought better of it meanwhile
        photos_reset_expiry(photos=UploadedPhoto.objects.filter(pk=photo.pk))
    return triplet


def triplets_unskip(*, triplets: "QuerySet[Triplet]") -> int:
    """Put those that were skipped back among those that wait. Returns how many there were."""
    skipped = triplets.filter(state=TripletState.SKIPPED)
    return skipped.update(state=TripletState.PROPOSED, reviewed_by=None, reviewed_at=None)


def review_progress() -> tuple[int, int]:
    """How many are decided, and how many there are with those that wait."""
    decided = Triplet.objects.exclude(state=TripletState.PROPOSED).count()
    return decided, decided + triplets_to_review().count()


def _is_held() -> Q:
    return Q(reviewed_by__isnull=False, reviewed_at__gt=timezone.now() - HOLD)


def _locked_anchor(triplet: Triplet) -> UploadedPhoto:
    photo = UploadedPhoto.objects.select_for_update().filter(pk=triplet.anchor_id, may_train=True).first()
    if photo is None:
        raise Refused("photo_taken_back", "This photo was taken back by whoever sent it.", status=410)
    return photo
