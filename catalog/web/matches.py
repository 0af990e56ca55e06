"""An answer as it is shown on a page."""

from django.conf import settings

from catalog.models import Feedback, Recommendation, SimilarityQuery
from catalog.services.feedback.triplets import LEARNING_DAYS
from catalog.services.queries.answers import feedback_for


def match_of(found: Recommendation, said: Feedback | None = None) -> dict[str, object]:
    """A recommendation as it is shown. Addresses come from the catalogue's source: only web pages are linked.

    `said` is what was just said about it; without it, what the row knows.
    """
    return {
        "pk": found.pk,
        "rank": found.rank,
        "item": found.item,
        "photo": found.photo,
        "percent": max(0, round(found.score * 100)),
        "link": found.item.url if found.item.url.startswith(("https://", "http://")) else "",
        "verdict": (said or feedback_for(found)).verdict,
    }


def consent_of(query: SimilarityQuery) -> dict[str, object] | None:
    """What there is to say about learning from the photo; None for a query that has none."""
    if query.photo is None:
        return None
    return {
        "given": query.photo.may_train,
        "expires_at": query.photo.expires_at,
        "days": settings.PHOTO_DAYS,
        "learning_days": max(settings.PHOTO_DAYS, LEARNING_DAYS),
    }
