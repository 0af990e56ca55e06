"""Triplets from feedback: which are proposed, and when they are deleted."""

from datetime import timedelta

import pytest
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from catalog.models import (
    CatalogItem,
    EvaluationItem,
    EvaluationSet,
    ItemPhoto,
    Triplet,
    TripletState,
    UploadedPhoto,
)
from catalog.services.feedback.feedback import feedback_give, photo_consent_set, user_consent_set
from catalog.services.feedback.reviews import triplet_review
from catalog.services.feedback.triplets import MAX_PER_QUERY, triplets_usable
from catalog.services.queries.create import query_delete
from catalog.services.uploads import upload_delete, upload_prepare, uploads_expire
from tests.helpers.factories import jpeg, make_item, make_item_photo, make_query, make_upload, make_user
from tests.helpers.judged_answers import judge, make_recommendations, open_item, triplet_ranks

pytestmark = [pytest.mark.django_db, pytest.mark.database]


# --- proposals


def test_each_thumb_up_is_paired_with_each_thumb_down() -> None:
    ranked = make_recommendations()
    judge(ranked, up=(3, 1), down=(2, 4))
    assert triplet_ranks(ranked) == [(1, 2), (1, 4), (3, 2), (3, 4)]
    triplet = Triplet.objects.first()
    assert triplet is not None
    assert (triplet.query, triplet.anchor, triplet.state) == (ranked[0].query, ranked[0].query.photo, "proposed")
    assert triplet.why == "thumbs up, thumbs down"


def test_thumbs_in_one_direction_propose_nothing() -> None:
    for side in ({"up": (1, 2)}, {"down": (1, 2)}):
        ranked = make_recommendations()
        judge(ranked, **side)
        assert triplet_ranks(ranked) == []


def test_an_opened_item_is_paired_with_the_unopened_ones_above_it() -> None:
    ranked = make_recommendations()
    open_item(ranked, 2, 4)
    assert triplet_ranks(ranked) == [(2, 1), (4, 1), (4, 3)]
    assert set(Triplet.objects.values_list("why", flat=True)) == {"opened, passed over"}


def test_an_opened_item_is_paired_with_a_thumb_down_below_it() -> None:
    ranked = make_recommendations()
    open_item(ranked, 2)
    judge(ranked, down=(3,))
    assert triplet_ranks(ranked) == [(2, 1), (2, 3)]


def test_an_opened_and_disliked_item_is_no_positive() -> None:
    ranked = make_recommendations()
    open_item(ranked, 3)
    judge(ranked, down=(3,))
    assert triplet_ranks(ranked) == []


def test_a_thumb_up_overrides_clicks() -> None:
    ranked = make_recommendations()
    open_item(ranked, 4)
    assert triplet_ranks(ranked) == [(4, 1), (4, 2), (4, 3)]
    judge(ranked, up=(2,))
    assert triplet_ranks(ranked) == []
    judge(ranked, down=(3,))
    assert triplet_ranks(ranked) == [(2, 3)]


def test_a_query_has_few_triplets_spread_over_the_liked_items() -> None:
    ranked = make_recommendations(items=9)
    judge(ranked, up=(1, 2, 3), down=(4, 5, 6, 7, 8, 9))
    pairs = triplet_ranks(ranked)
    assert len(pairs) == MAX_PER_QUERY
    assert [near for near, _ in pairs] == [1, 1, 2, 2, 3, 3]


def test_queries_with_the_same_photo_share_its_triplets() -> None:
    first = make_recommendations()
    photo = first[0].query.photo
    second = make_recommendations(photo)
    judge(first, up=(1,), down=(2,))
    judge(second, up=(1,), down=(2,))
    assert Triplet.objects.count() == 2
    again = make_query(photo, state="done")
    again.recommendations.create(rank=1, item=first[0].item, photo=first[0].photo, score=0.9)
    again.recommendations.create(rank=2, item=first[1].item, photo=first[1].photo, score=0.8)
    judge(list(again.recommendations.order_by("rank")), up=(1,), down=(2,))
    assert Triplet.objects.count() == 2  # the same pairs


def test_repeated_feedback_changes_nothing() -> None:
    ranked = make_recommendations()
    judge(ranked, up=(1,), down=(2, 3))
    before = list(Triplet.objects.values())
    judge(ranked, up=(1,), down=(2, 3))
    assert list(Triplet.objects.values()) == before


def test_a_query_about_an_item_proposes_nothing() -> None:
    query = make_query(item=make_item(), state="done")
    ranked = [
        query.recommendations.create(rank=rank, item=one.item, photo=one, score=0.5)
        for rank, one in enumerate([make_item_photo(), make_item_photo()], 1)
    ]
    for one, verdict in zip(ranked, ("up", "down"), strict=True):
        feedback_give(recommendation=one, verdict=verdict, may_train=True)
    assert not Triplet.objects.exists()


# --- exclusions


def freeze(item: CatalogItem, *, is_current: bool = False) -> None:
    frozen = EvaluationSet.objects.create(name=f"set {item.pk}", is_current=is_current)
    EvaluationItem.objects.create(evaluation_set=frozen, item=item)


@pytest.mark.parametrize("is_current", [True, False])
@pytest.mark.parametrize("rank", [1, 2])
def test_items_of_any_evaluation_set_are_in_no_triplet(rank: int, is_current: bool) -> None:
    ranked = make_recommendations()
    freeze(ranked[rank - 1].item, is_current=is_current)
    judge(ranked, up=(1,), down=(2,))
    assert triplet_ranks(ranked) == []


@pytest.mark.parametrize("rank", [1, 2])
def test_a_triplet_is_unusable_once_its_item_is_in_an_evaluation_set(rank: int) -> None:
    ranked = make_recommendations()
    judge(ranked, up=(1,), down=(2, 3))
    assert triplets_usable().count() == 2
    freeze(ranked[rank - 1].item)
    assert triplets_usable().count() == rank - 1


def test_deleted_or_damaged_photos_are_in_no_triplet() -> None:
    ranked = make_recommendations(items=5)
    CatalogItem.objects.filter(pk=ranked[1].item_id).update(deleted_at=timezone.now())
    ItemPhoto.objects.filter(pk=ranked[2].photo_id).update(problem="damaged")
    ranked[3].photo.delete()
    judge(ranked[:3] + ranked[4:], up=(1,), down=(2, 3, 4))
    assert triplet_ranks(ranked) == [(1, 5)]


def test_an_expired_photo_is_in_no_triplet() -> None:
    ranked = make_recommendations()
    UploadedPhoto.objects.update(expires_at=timezone.now())
    judge(ranked, up=(1,), down=(2,))
    assert triplet_ranks(ranked) == []


# --- consent


def test_feedback_before_the_consent_counts_once_it_is_given() -> None:
    ranked = make_recommendations(make_upload(visitor="a browser"))
    judge(ranked, up=(1,), down=(2,))
    assert triplet_ranks(ranked) == []
    feedback_give(recommendation=ranked[2], verdict="down", may_train=True)
    assert triplet_ranks(ranked) == [(1, 2), (1, 3)]


def test_removing_a_thumb_deletes_undecided_triplets() -> None:
    ranked = make_recommendations()
    judge(ranked, up=(1,), down=(2, 3, 4))
    by = make_user()
    decided = dict(zip(Triplet.objects.order_by("pk"), ("accepted", "skipped"), strict=False))
    for triplet, state in decided.items():
        triplet_review(triplet=triplet, state=TripletState(state), by=by)
    for rank in (2, 3, 4):
        feedback_give(recommendation=ranked[rank - 1], verdict="")
    assert triplet_ranks(ranked) == triplet_ranks(ranked, state="accepted") == [(1, 2)]


@pytest.mark.parametrize("state", TripletState)
def test_withdrawing_consent_deletes_the_triplets_of_the_photo(state: str) -> None:
    ranked, other = make_recommendations(), make_recommendations()
    for one in (ranked, other):
        judge(one, up=(1,), down=(2,))
    Triplet.objects.update(state=state)
    feedback_give(recommendation=ranked[0], may_train=False)
    assert triplet_ranks(ranked) == []
    assert triplet_ranks(other) == [(1, 2)]
    photo = ranked[0].query.photo
    assert photo is not None
    photo_consent_set(photo=photo, may_train=True)
    assert triplet_ranks(ranked) == [(1, 2)]


def test_withdrawing_consent_for_all_photos_affects_one_user_only() -> None:
    me = make_user()
    mine, others = [make_recommendations(make_upload(me, may_train=True)) for _ in range(2)], make_recommendations()
    for ranked in (*mine, others):
        judge(ranked, up=(1,), down=(2,))
    user_consent_set(user=me, may_train=True)
    assert Triplet.objects.count() == 3
    user_consent_set(user=me, may_train=False)
    assert list(Triplet.objects.values_list("anchor", flat=True)) == [others[0].query.photo_id]
    assert not me.photos.filter(may_train=True).exists()


def test_new_photos_start_with_the_consent_of_their_owner() -> None:
    me = make_user()
    assert upload_prepare(raw=jpeg("red"), owner=me).may_train is False
    user_consent_set(user=me, may_train=True)
    assert upload_prepare(raw=jpeg("red"), owner=me).may_train is True
    assert upload_prepare(raw=jpeg("red"), visitor="a browser").may_train is False


def test_they_go_with_the_photo_and_with_the_query() -> None:
    for delete in ("photo", "query"):
        ranked = make_recommendations()
        judge(ranked, up=(1,), down=(2,))
        query, photo = ranked[0].query, ranked[0].query.photo
        assert photo is not None
        if delete == "photo":
            upload_delete(photo=photo)
        else:
            query_delete(query=query)
        assert not Triplet.objects.exists()


# --- expiry


def days_left() -> int:
    return round((UploadedPhoto.objects.get().expires_at - timezone.now()) / timedelta(days=1))


def accept_all() -> None:
    for triplet in Triplet.objects.filter(state="proposed"):
        triplet_review(triplet=triplet, state=TripletState.ACCEPTED, by=make_user())


def test_an_accepted_triplet_extends_the_expiry_to_a_year() -> None:
    ranked = make_recommendations()
    judge(ranked, up=(1,), down=(2, 3))
    one, other = Triplet.objects.all()
    triplet_review(triplet=one, state=TripletState.REJECTED, by=make_user())
    assert days_left() == 30
    triplet_review(triplet=other, state=TripletState.ACCEPTED, by=make_user())
    assert days_left() == 365


def test_sending_the_photo_again_does_not_shorten_its_expiry() -> None:
    photo = upload_prepare(raw=jpeg("red"), visitor="a browser")
    photo.may_train = True
    photo.save()
    judge(make_recommendations(photo), up=(1,), down=(2,))
    accept_all()
    upload_prepare(raw=jpeg("red"), visitor="a browser")
    assert days_left() == 365


def test_withdrawing_consent_resets_the_expiry() -> None:
    ranked = make_recommendations()
    judge(ranked, up=(1,), down=(2,))
    accept_all()
    feedback_give(recommendation=ranked[0], may_train=False)
    assert days_left() == 30


def test_the_expiry_is_reset_with_the_last_accepted_triplet() -> None:
    ranked = make_recommendations()
    judge(ranked, up=(1,), down=(2, 3))
    accept_all()
    ranked[1].photo.delete()
    uploads_expire()
    assert days_left() == 365
    ranked[2].photo.delete()
    uploads_expire()
    assert days_left() == 30


# --- cost


@pytest.mark.parametrize("items", [3, 7])
def test_feedback_needs_a_constant_number_of_sql_queries(
    items: int, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    ranked = make_recommendations(items=items)
    judge(ranked, up=(1,), down=tuple(range(3, items + 1)))
    with django_assert_num_queries(9):
        # two for the savepoint; locking the recommendation and the photo; reading and writing the feedback;
        # reading all feedback and triplets of the photo; inserting the new triplets
        feedback_give(recommendation=ranked[1], verdict="down")
