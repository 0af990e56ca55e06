"""Reading queries together with their answers."""

from django.db.models import Prefetch, QuerySet

from catalog.models import Feedback, Recommendation, SimilarityQuery, User
from catalog.models.items import shown_photos
from catalog.models.queries import SimilarityQuerySet


def queries_of(*, owner: User | None = None, visitor: str = "") -> SimilarityQuerySet:
    """One person's queries with what they are about, in a number of SQL queries that does not grow with theirs."""
    mine = SimilarityQuery.objects.of(user=owner, visitor=visitor).select_related("photo", "encoder", "item", "webhook")
    return mine.defer("vector").prefetch_related("more_photos", shown_photos("item__photos"))


def queries_with_answers(*, owner: User | None = None, visitor: str = "") -> SimilarityQuerySet:
    """The same with all that is shown of their answers, in a number of SQL queries that does not grow with k."""
    ranked = Recommendation.objects.select_related("item", "photo", "feedback").order_by("rank")
    mine = queries_of(owner=owner, visitor=visitor)
    return mine.prefetch_related(Prefetch("recommendations", ranked), shown_photos("recommendations__item__photos"))


def recommendations_of(*, owner: User | None = None, visitor: str = "") -> QuerySet[Recommendation]:
    """All answers that one person ever got, each with its item."""
    mine = SimilarityQuery.objects.of(user=owner, visitor=visitor)
    return Recommendation.objects.filter(query__in=mine).select_related("item")


def said_about(found: Recommendation) -> Feedback:
    """What was said about an answer; where nothing was, an unsaved row that says so."""
    said: Feedback | None = getattr(found, "feedback", None)
    return said or Feedback(recommendation=found)


def place_in_line(*, query: SimilarityQuery) -> int:
    """How many queries that wait as this one does came before it, and itself: 1 is the next."""
    waiting = SimilarityQuery.objects.filter(state=query.state, created_at__lt=query.created_at)
    return waiting.count() + 1
