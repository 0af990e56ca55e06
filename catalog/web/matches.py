"""Template contexts of a match and of the training consent."""

from django.conf import settings

from catalog.models import Feedback, Recommendation, SimilarityQuery
from catalog.services.feedback.triplets import TRAINING_PHOTO_DAYS
from catalog.services.queries.read import feedback_for


def match_context(recommendation: Recommendation, feedback: Feedback | None = None) -> dict[str, object]:
    """Return the context of one match; `feedback` when it is newer than the recommendation's own.

    The item's URL comes from the catalogue's source: only http and https become links.
    """
    item = recommendation.item
    return {
        "pk": recommendation.pk,
        "rank": recommendation.rank,
        "item": item,
        "photo": recommendation.photo,
        "percent": max(0, round(recommendation.score * 100)),
        "link": item.url if item.url.startswith(("https://", "http://")) else "",
        "verdict": (feedback or feedback_for(recommendation)).verdict,
    }


def consent_context(query: SimilarityQuery) -> dict[str, object] | None:
    """Return the context of the consent form; None for a query without a photo."""
    if query.photo is None:
        return None
    return {
        "given": query.photo.may_train,
        "expires_at": query.photo.expires_at,
        "days": settings.PHOTO_DAYS,
        "learning_days": max(settings.PHOTO_DAYS, TRAINING_PHOTO_DAYS),
    }
