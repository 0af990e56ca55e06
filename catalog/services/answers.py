"""Reading queries together with their answers."""

from django.db.models import Prefetch

from catalog.models import Recommendation, SimilarityQuery, User
from catalog.models.queries import SimilarityQuerySet


def queries_with_answers(*, owner: User | None = None, visitor: str = "") -> SimilarityQuerySet:
    """One person's queries with all that is shown of them, in a number of SQL queries that does not grow with k."""
    ranked = Recommendation.objects.select_related("item", "photo").order_by("rank")
    mine = SimilarityQuery.objects.of(user=owner, visitor=visitor).select_related("photo", "encoder").defer("vector")
    return mine.prefetch_related(Prefetch("recommendations", ranked), "recommendations__item__photos")
