"""Reading queries together with their answers."""

from collections import defaultdict
from typing import Literal
from uuid import UUID

from django.db.models import Prefetch, QuerySet

from catalog.models import Feedback, ItemPhoto, QueryState, Recommendation, SimilarityQuery, User
from catalog.models.items import shown_photos
from catalog.models.queries import SimilarityQuerySet
from catalog.services.queries.compiled import CompiledQuery

# What is shown of a query and of the rows that it leads to, which have many more columns: reading these alone takes
# half the time. A column that is missing here is read when it is looked at, with a statement of its own.
_SHOWN = (
    *("owner_id", "visitor", "state", "outcome", "k", "filters", "diversity", "min_score", "created_at", "finished_at"),
    *("timings", "source_url", "item_id", "crop", "guess", "error_code", "error_detail", "encoder__name"),
    *(f"photo__{name}" for name in ("width", "height", "may_train", "expires_at")),
    *(f"webhook__{name}" for name in ("url", "state", "attempts", "delivered_at", "error")),
)
_SHOWN_OF_ITEM = (
    *("external_id", "name", "category", "brand", "gender", "colour", "price", "currency", "url", "collection"),
    "in_stock",
)
_SHOWN_OF_ANSWER = (
    *("query_id", "rank", "score", "probability", "why", "photo__width", "photo__height"),
    *(f"feedback__{name}" for name in ("verdict", "clicked_at")),
    *(f"item__{name}" for name in _SHOWN_OF_ITEM),
)


def queries_of(*, owner: User | None = None, visitor: str = "") -> SimilarityQuerySet:
    """One person's queries with what they are about, in a number of SQL queries that does not grow with theirs."""
    mine = _shown("item").owned_by(user=owner, visitor=visitor)
    return mine.prefetch_related("more_photos", shown_photos("item__photos"))


def queries_with_answers(*, owner: User | None = None, visitor: str = "") -> SimilarityQuerySet:
    """The same with all that is shown of their answers, in a number of SQL queries that does not grow with k."""
    answers = Prefetch("recommendations", _ranked()), shown_photos("recommendations__item__photos")
    return queries_of(owner=owner, visitor=visitor).prefetch_related(*answers)


def query_with_answer(*, made: SimilarityQuery) -> SimilarityQuery | None:
    """A query that was just made, as it is by now, with its answer; None if it was deleted meanwhile."""
    query = _QUERY.row(made.pk)
    if query is None:
        return None
    query.has_more_photos = made.has_more_photos
    query.ranked = _RANKED.rows(made.pk) if query.state == QueryState.DONE else []
    photos = defaultdict(list)
    for photo in _PHOTOS.rows(made.pk) if query.ranked else ():
        photos[photo.item_id].append(photo)
    for found in query.ranked:
        found.item.shown_photos = photos[found.item_id]
    return query


def _shown(*more: Literal["item"]) -> SimilarityQuerySet:
    columns = [f"{name}__{column}" for name in more for column in _SHOWN_OF_ITEM]
    return SimilarityQuery.objects.select_related("photo", "encoder", "webhook", *more).only(*_SHOWN, *columns)


def _ranked() -> QuerySet[Recommendation]:
    with_rest = Recommendation.objects.select_related("item", "photo", "feedback")
    return with_rest.only(*_SHOWN_OF_ANSWER).order_by("rank")


def _photos(query_id: UUID) -> QuerySet[ItemPhoto]:
    """Those of all items of an answer."""
    items = Recommendation.objects.filter(query=query_id).values("item")
    return ItemPhoto.objects.only("item_id", "position", "width", "height").filter(item__in=items)


_QUERY = CompiledQuery(lambda pk: _shown().filter(pk=pk))
_RANKED = CompiledQuery(lambda pk: _ranked().filter(query=pk))
_PHOTOS = CompiledQuery(_photos)


def recommendations_of(*, owner: User | None = None, visitor: str = "") -> QuerySet[Recommendation]:
    """All answers that one person ever got, each with its item."""
    mine = SimilarityQuery.objects.owned_by(user=owner, visitor=visitor)
    return Recommendation.objects.filter(query__in=mine).select_related("item")


def feedback_for(found: Recommendation) -> Feedback:
    """What was said about an answer; where nothing was, an unsaved row that says so."""
    said: Feedback | None = getattr(found, "feedback", None)
    return said or Feedback(recommendation=found)


def queue_position(*, query: SimilarityQuery) -> int:
    """How many queries that wait as this one does came before it, and itself: 1 is the next."""
    waiting = SimilarityQuery.objects.filter(state=query.state, created_at__lt=query.created_at)
    return waiting.count() + 1
