"""Read queries together with their recommendations, in a fixed number of SQL statements."""

from collections import defaultdict
from typing import Literal
from uuid import UUID

from django.db.models import Prefetch, QuerySet

from catalog.models import Feedback, ItemPhoto, QueryState, Recommendation, SimilarityQuery, User
from catalog.models.items import shown_photos
from catalog.models.queries import SimilarityQuerySet
from catalog.services.queries.compiled import CompiledQuery

# The columns that answers show: reading only these takes half the time. A column that is missing here costs
# an SQL statement of its own when it is used.
_QUERY_COLUMNS = (
    *("owner_id", "visitor", "state", "outcome", "k", "filters", "diversity", "min_score", "created_at", "finished_at"),
    *("timings", "source_url", "item_id", "crop", "guess", "error_code", "error_detail", "encoder__name"),
    *(f"photo__{name}" for name in ("width", "height", "may_train", "expires_at")),
    *(f"webhook__{name}" for name in ("url", "state", "attempts", "delivered_at", "error")),
)
_ITEM_COLUMNS = (
    *("external_id", "name", "category", "brand", "gender", "colour", "price", "currency", "url", "collection"),
    "in_stock",
)
_RECOMMENDATION_COLUMNS = (
    *("query_id", "rank", "score", "probability", "why", "photo__width", "photo__height"),
    *(f"feedback__{name}" for name in ("verdict", "clicked_at")),
    *(f"item__{name}" for name in _ITEM_COLUMNS),
)


def queries_of(*, owner: User | None = None, visitor: str = "") -> SimilarityQuerySet:
    """The queries of one owner with their photos and item. The number of SQL statements is constant."""
    queries = _queries("item").owned_by(owner=owner, visitor=visitor)
    return queries.prefetch_related("more_photos", shown_photos("item__photos"))


def queries_with_answers(*, owner: User | None = None, visitor: str = "") -> SimilarityQuerySet:
    """`queries_of` with the recommendations, items and feedback. The number of SQL statements is constant."""
    answers = Prefetch("recommendations", _recommendations()), shown_photos("recommendations__item__photos")
    return queries_of(owner=owner, visitor=visitor).prefetch_related(*answers)


def query_with_answer(*, created: SimilarityQuery) -> SimilarityQuery | None:
    """Read the current state and answer of a query that this request created; None if it was deleted since."""
    query = _QUERY.row(created.pk)
    if query is None:
        return None
    query.has_more_photos = created.has_more_photos
    query.ranked = _RANKED.rows(created.pk) if query.state == QueryState.DONE else []
    photos = defaultdict(list)
    for photo in _PHOTOS.rows(created.pk) if query.ranked else ():
        photos[photo.item_id].append(photo)
    for recommendation in query.ranked:
        recommendation.item.shown_photos = photos[recommendation.item_id]
    return query


def _queries(*relations: Literal["item"]) -> SimilarityQuerySet:
    columns = [f"{name}__{column}" for name in relations for column in _ITEM_COLUMNS]
    return SimilarityQuery.objects.select_related("photo", "encoder", "webhook", *relations).only(
        *_QUERY_COLUMNS, *columns
    )


def _recommendations() -> QuerySet[Recommendation]:
    recommendations = Recommendation.objects.select_related("item", "photo", "feedback")
    return recommendations.only(*_RECOMMENDATION_COLUMNS).order_by("rank")


def _photos(query_id: UUID) -> QuerySet[ItemPhoto]:
    """The photos of all recommended items of a query."""
    items = Recommendation.objects.filter(query=query_id).values("item")
    return ItemPhoto.objects.only("item_id", "position", "width", "height").filter(item__in=items)


_QUERY = CompiledQuery(lambda pk: _queries().filter(pk=pk))
_RANKED = CompiledQuery(lambda pk: _recommendations().filter(query=pk))
_PHOTOS = CompiledQuery(_photos)


def recommendations_of(*, owner: User | None = None, visitor: str = "") -> QuerySet[Recommendation]:
    """All recommendations of one owner's queries, each with its item."""
    queries = SimilarityQuery.objects.owned_by(owner=owner, visitor=visitor)
    return Recommendation.objects.filter(query__in=queries).select_related("item")


def feedback_for(recommendation: Recommendation) -> Feedback:
    """The feedback on a recommendation, or an unsaved empty one."""
    feedback: Feedback | None = getattr(recommendation, "feedback", None)
    return feedback or Feedback(recommendation=recommendation)


def queue_position(*, query: SimilarityQuery) -> int:
    """The position among the queries in the same waiting state, oldest first: 1 is the next."""
    waiting = SimilarityQuery.objects.filter(state=query.state, created_at__lt=query.created_at)
    return waiting.count() + 1
