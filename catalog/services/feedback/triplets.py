"""Training triplets derived from feedback.

A triplet is a user's photo (anchor), the item photo to move nearer (positive) and the item photo to move away
(negative). A triplet exists only while the user consents to training. Lock order: the photo's row, then its triplets.
"""

from collections.abc import Iterator
from datetime import timedelta
from itertools import groupby, product
from typing import NamedTuple

from django.db.models import Exists, OuterRef, QuerySet
from django.utils import timezone

from catalog.models import EvaluationItem, Feedback, Recommendation, Triplet, TripletState, UploadedPhoto, Verdict
from catalog.models.items import is_searchable
from catalog.models.photos import UploadedPhotoQuerySet, expiry
from catalog.run_folder import photo_copies_delete

MAX_PER_QUERY = 6  # more triplets of the same photo teach little and cost reviewing time
TRAINING_PHOTO_DAYS = 365  # retention of a photo with an accepted triplet, if PHOTO_DAYS is shorter
UNDECIDED = (TripletState.PROPOSED, TripletState.SKIPPED)


class Proposal(NamedTuple):
    """The positive and the negative of a triplet, as recommendations of one query, and the feedback behind it."""

    positive: Recommendation
    negative: Recommendation
    why: str


def triplets_propose(*, photo: UploadedPhoto) -> None:
    """Bring a photo's undecided triplets in line with the feedback on its queries. Idempotent.

    Accepted and rejected triplets stay. Call in the transaction that writes the feedback, with the photo's row locked.
    """
    proposals = reversed(list(_proposals(photo)))
    wanted = {(proposal.positive.photo_id, proposal.negative.photo_id): proposal for proposal in proposals}
    existing = list(photo.triplets.all())
    undecided = [triplet for triplet in existing if triplet.state in UNDECIDED]
    stale = [triplet.pk for triplet in undecided if (triplet.positive_id, triplet.negative_id) not in wanted]
    new = wanted.keys() - {(triplet.positive_id, triplet.negative_id) for triplet in existing}
    if stale:
        Triplet.objects.filter(pk__in=stale).delete()
    if new:
        Triplet.objects.bulk_create(_triplet(photo, wanted[key]) for key in wanted if key in new)


def triplets_delete(*, photos: UploadedPhotoQuerySet) -> None:
    """Delete all triplets of the photos, and the photos' copies in run folders; reset extended expiry."""
    photo_copies_delete(photos.filter(triplets__isnull=False).values_list("pk", flat=True).distinct())
    Triplet.objects.filter(anchor__in=photos).delete()
    limit = expiry()
    photos.filter(expires_at__gt=limit).update(expires_at=limit)


def triplets_usable() -> "QuerySet[Triplet]":
    """Triplets that training may use once accepted: consented, not expired, and in no evaluation set."""
    return Triplet.objects.filter(
        ~Exists(EvaluationItem.objects.filter(item=OuterRef("positive__item"))),
        ~Exists(EvaluationItem.objects.filter(item=OuterRef("negative__item"))),
        is_searchable("positive__"),
        is_searchable("negative__"),
        anchor__may_train=True,
        anchor__expires_at__gt=timezone.now(),
    )


def photo_extend_expiry(*, photo: UploadedPhoto) -> None:
    """Extend the expiry of a photo with an accepted triplet to `TRAINING_PHOTO_DAYS` after its upload."""
    until = photo.created_at + timedelta(days=TRAINING_PHOTO_DAYS)
    UploadedPhoto.objects.filter(pk=photo.pk, expires_at__lt=until).update(expires_at=until)


def photos_reset_expiry(*, photos: UploadedPhotoQuerySet) -> None:
    """Reset the extended expiry of photos without an accepted triplet, which may have been deleted with its item."""
    limit = expiry()
    accepted = Triplet.objects.filter(anchor=OuterRef("pk"), state=TripletState.ACCEPTED)
    photos.filter(~Exists(accepted), expires_at__gt=limit).update(expires_at=limit)


def _triplet(photo: UploadedPhoto, proposal: Proposal) -> Triplet:
    return Triplet(
        query_id=proposal.positive.query_id,
        anchor=photo,
        positive_id=proposal.positive.photo_id,
        negative_id=proposal.negative.photo_id,
        why=proposal.why,
    )


def _proposals(photo: UploadedPhoto) -> Iterator[Proposal]:
    """The proposals from the feedback on the photo's queries, in the order of the queries."""
    if not photo.may_train or photo.expires_at <= timezone.now():
        return
    for _, ranked in groupby(_recommendations(photo), key=lambda recommendation: recommendation.query_id):
        yield from _proposals_of_query(list(ranked))


def _recommendations(photo: UploadedPhoto) -> "QuerySet[Recommendation]":
    """The recommendations of the photo's queries with feedback, without those that training must not use."""
    judged = Feedback.objects.filter(recommendation__query__photo=photo).values("recommendation__query")
    usable = Recommendation.objects.filter(
        ~Exists(EvaluationItem.objects.filter(item=OuterRef("photo__item"))),
        is_searchable("photo__"),
        query__in=judged,
    )
    return usable.select_related("feedback").order_by("query__created_at", "query", "rank")


def _proposals_of_query(ranked: list[Recommendation]) -> list[Proposal]:
    """Pair liked recommendations with disliked ones.

    Without a thumb up, a click counts as weaker evidence: the recommendations ranked above it that were not opened are
    less similar to the photo.
    """
    up = [recommendation for recommendation in ranked if _verdict(recommendation) == Verdict.UP]
    down = [recommendation for recommendation in ranked if _verdict(recommendation) == Verdict.DOWN]
    if up:
        return _limit([Proposal(liked, other, "thumbs up, thumbs down") for liked, other in product(up, down)], up)
    opened = [recommendation for recommendation in ranked if _is_opened(recommendation) and recommendation not in down]
    disliked = [Proposal(liked, other, "opened, thumbs down") for liked, other in product(opened, down)]
    passed = [
        Proposal(liked, other, "opened, passed over")
        for liked, other in product(opened, ranked)
        if other.rank < liked.rank and not _is_opened(other) and other not in down
    ]
    return _limit(disliked + passed, opened)


def _limit(proposals: list[Proposal], liked: list[Recommendation]) -> list[Proposal]:
    """The first `MAX_PER_QUERY` proposals, round-robin over the liked recommendations."""
    groups = [[proposal for proposal in proposals if proposal.positive == positive] for positive in liked]
    order = [(turn, number, proposal) for number, group in enumerate(groups) for turn, proposal in enumerate(group)]
    return [proposal for _, _, proposal in sorted(order, key=lambda entry: entry[:2])][:MAX_PER_QUERY]


def _verdict(recommendation: Recommendation) -> str:
    feedback: Feedback | None = getattr(recommendation, "feedback", None)
    return feedback.verdict if feedback else ""


def _is_opened(recommendation: Recommendation) -> bool:
    feedback: Feedback | None = getattr(recommendation, "feedback", None)
    return bool(feedback and feedback.clicked_at)
