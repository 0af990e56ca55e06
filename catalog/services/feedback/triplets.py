"""What people say about answers, as triplets to learn from; and staff's look at each of them.

A triplet is a person's photo, a picture that it shall be near to, and one that it shall be farther from. It is there
only while the person lets encoders learn from the photo. Writers lock the photo's row first, then the triplets'.
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

MOST = 6  # of one query: more triplets of the same photo teach little, and tire whoever looks at them
LEARNING_DAYS = 365  # a photo with an accepted triplet is kept for so long, where PHOTO_DAYS is less
UNDECIDED = (TripletState.PROPOSED, TripletState.SKIPPED)


class Pair(NamedTuple):
    """The two pictures of a triplet, as answers of one query, and the feedback they come from."""

    positive: Recommendation
    negative: Recommendation
    why: str


def triplets_propose(*, photo: UploadedPhoto) -> None:
    """Bring a photo's triplets in line with what was said about its answers; doing it twice changes nothing.

    What staff have accepted or rejected stays as it is. For use in the transaction that writes what was said, with
    the photo's row locked.
    """
    wanted = {(pair.positive.photo_id, pair.negative.photo_id): pair for pair in reversed(list(_pairs(photo)))}
    known = list(photo.triplets.all())
    stale = [one.pk for one in known if one.state in UNDECIDED and (one.positive_id, one.negative_id) not in wanted]
    new = wanted.keys() - {(one.positive_id, one.negative_id) for one in known}
    if stale:
        Triplet.objects.filter(pk__in=stale).delete()
    if new:
        Triplet.objects.bulk_create(_triplet(photo, wanted[key]) for key in wanted if key in new)


def triplets_delete(*, photos: UploadedPhotoQuerySet) -> None:
    """Remove all triplets of these photos, which are then kept no longer than a photo that comes in now."""
    photo_copies_delete(photos.filter(triplets__isnull=False).values_list("pk", flat=True).distinct())
    Triplet.objects.filter(anchor__in=photos).delete()
    limit = expiry()
    photos.filter(expires_at__gt=limit).update(expires_at=limit)


def triplets_usable() -> "QuerySet[Triplet]":
    """Those that a training may take once they are accepted: allowed, still there, and of no evaluation set."""
    return Triplet.objects.filter(
        ~Exists(EvaluationItem.objects.filter(item=OuterRef("positive__item"))),
        ~Exists(EvaluationItem.objects.filter(item=OuterRef("negative__item"))),
        is_searchable("positive__"),
        is_searchable("negative__"),
        anchor__may_train=True,
        anchor__expires_at__gt=timezone.now(),
    )


def photo_extend_expiry(*, photo: UploadedPhoto) -> None:
    """A photo of an accepted triplet is kept for up to a year from when it was sent."""
    until = photo.created_at + timedelta(days=LEARNING_DAYS)
    UploadedPhoto.objects.filter(pk=photo.pk, expires_at__lt=until).update(expires_at=until)


def photos_reset_expiry(*, photos: UploadedPhotoQuerySet) -> None:
    """Those that are kept longer than others, and have no accepted triplet any more, are so no longer.

    It may have gone with an item, say.
    """
    limit = expiry()
    accepted = Triplet.objects.filter(anchor=OuterRef("pk"), state=TripletState.ACCEPTED)
    photos.filter(~Exists(accepted), expires_at__gt=limit).update(expires_at=limit)


def _triplet(photo: UploadedPhoto, pair: Pair) -> Triplet:
    return Triplet(
        query_id=pair.positive.query_id,
        anchor=photo,
        positive_id=pair.positive.photo_id,
        negative_id=pair.negative.photo_id,
        why=pair.why,
    )


def _pairs(photo: UploadedPhoto) -> Iterator[Pair]:
    """All that was said about the photo's answers, in the order of its queries."""
    if not photo.may_train or photo.expires_at <= timezone.now():
        return
    for _, ranked in groupby(_judged(photo), key=lambda found: found.query_id):
        yield from _pairs_of_query(list(ranked))


def _judged(photo: UploadedPhoto) -> "QuerySet[Recommendation]":
    """The answers of those queries of which one was judged, without what encoders must not learn from."""
    judged = Feedback.objects.filter(recommendation__query__photo=photo).values("recommendation__query")
    usable = Recommendation.objects.filter(
        ~Exists(EvaluationItem.objects.filter(item=OuterRef("photo__item"))),
        is_searchable("photo__"),
        query__in=judged,
    )
    return usable.select_related("feedback").order_by("query__created_at", "query", "rank")


def _pairs_of_query(ranked: list[Recommendation]) -> list[Pair]:
    """What is liked, beside what is not. Where no thumb points up a click says the same, more weakly: what it passed
    over on the way down is less like the photo."""
    up = [found for found in ranked if _verdict(found) == Verdict.UP]
    down = [found for found in ranked if _verdict(found) == Verdict.DOWN]
    if up:
        return _spread([Pair(liked, other, "thumbs up, thumbs down") for liked, other in product(up, down)], up)
    opened = [found for found in ranked if _is_opened(found) and found not in down]
    disliked = [Pair(liked, other, "opened, thumbs down") for liked, other in product(opened, down)]
    passed = [
        Pair(liked, other, "opened, passed over")
        for liked, other in product(opened, ranked)
        if other.rank < liked.rank and not _is_opened(other) and other not in down
    ]
    return _spread(disliked + passed, opened)


def _spread(pairs: list[Pair], liked: list[Recommendation]) -> list[Pair]:
    """The first few, taking turns between the liked ones."""
    turns = [[pair for pair in pairs if pair.positive == one] for one in liked]
    places = [(turn, number, pair) for number, mine in enumerate(turns) for turn, pair in enumerate(mine)]
    return [pair for _, _, pair in sorted(places, key=lambda place: place[:2])][:MOST]


def _verdict(found: Recommendation) -> str:
    said: Feedback | None = getattr(found, "feedback", None)
    return said.verdict if said else ""


def _is_opened(found: Recommendation) -> bool:
    said: Feedback | None = getattr(found, "feedback", None)
    return bool(said and said.clicked_at)
