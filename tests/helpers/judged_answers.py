"""Answered queries with feedback on their recommendations, and the triplets proposed from the feedback."""

from catalog.models import QueryState, Recommendation, Triplet, UploadedPhoto
from catalog.services.feedback.feedback import feedback_give
from tests.helpers.factories import make_encoder, make_item_photo, make_query, make_upload

Ranks = tuple[int, int]


def make_recommendations(photo: UploadedPhoto | None = None, items: int = 4) -> list[Recommendation]:
    """Create a query and return its recommendations, best first; by default of a visitor who consents to training."""
    photo = photo or make_upload(visitor="a browser", may_train=True)
    query = make_query(photo, state=QueryState.DONE, encoder=make_encoder(), k=items)
    shown = [make_item_photo() for _ in range(items)]
    return [
        Recommendation.objects.create(
            query=query, rank=rank, item=item_photo.item, photo=item_photo, score=1 - rank / 100
        )
        for rank, item_photo in enumerate(shown, 1)
    ]


def judge(ranked: list[Recommendation], up: tuple[int, ...] = (), down: tuple[int, ...] = ()) -> None:
    """Give thumbs up and down to the recommendations at these ranks."""
    for verdict, ranks in (("up", up), ("down", down)):
        for rank in ranks:
            feedback_give(recommendation=ranked[rank - 1], verdict=verdict)


def open_item(ranked: list[Recommendation], *ranks: int) -> None:
    """Record clicks on the recommendations at these ranks."""
    for rank in ranks:
        feedback_give(recommendation=ranked[rank - 1], clicked=True)


def triplet_ranks(ranked: list[Recommendation], **where: object) -> list[Ranks]:
    """The ranks of the positive and the negative of each triplet of the photo."""
    rank_of = {recommendation.photo_id: recommendation.rank for recommendation in ranked}
    rows = Triplet.objects.filter(anchor=ranked[0].query.photo, **where)
    return sorted((rank_of[row.positive_id], rank_of[row.negative_id]) for row in rows)
