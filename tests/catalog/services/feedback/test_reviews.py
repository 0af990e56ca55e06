"""Reviewing triplets: in order, and each held for one reviewer."""

from datetime import timedelta

import pytest
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from catalog.errors import Refused
from catalog.models import Triplet, TripletState, UploadedPhoto, User
from catalog.services.feedback.feedback import feedback_give, photo_consent_set
from catalog.services.feedback.reviews import (
    HOLD,
    UNDO,
    review_progress,
    triplet_review,
    triplet_take,
    triplet_undo,
    triplet_upcoming,
    triplets_to_review,
)
from tests.helpers.api import run_concurrently
from tests.helpers.factories import make_user
from tests.helpers.judged_answers import judge, make_recommendations

pytestmark = [pytest.mark.django_db, pytest.mark.database]

ACCEPTED, REJECTED, SKIPPED = TripletState.ACCEPTED, TripletState.REJECTED, TripletState.SKIPPED


@pytest.fixture
def anna(db: None) -> User:
    return make_user("anna", is_staff=True)


@pytest.fixture
def boris(db: None) -> User:
    return make_user("boris", is_staff=True)


def propose(count: int = 3) -> list[Triplet]:
    judge(make_recommendations(items=count + 1), up=(1,), down=tuple(range(2, count + 2)))
    return list(Triplet.objects.order_by("pk"))


def refusal(triplet: Triplet, by: User) -> str:
    with pytest.raises(Refused) as caught:
        triplet_review(triplet=triplet, state=ACCEPTED, by=by)
    return caught.value.code


def test_a_reviewer_gets_the_triplets_in_order_each_until_decided(anna: User) -> None:
    first, second, _ = propose()
    assert triplet_take(by=anna) == triplet_take(by=anna) == first
    assert triplet_upcoming(triplet=first, by=anna) == second
    triplet_review(triplet=first, state=ACCEPTED, by=anna)
    assert triplet_take(by=anna) == second
    first.refresh_from_db()
    assert (first.state, first.reviewed_by) == ("accepted", anna)
    assert review_progress() == (1, 3)


def test_two_reviewers_get_different_triplets(anna: User, boris: User) -> None:
    first, second, third = propose()
    assert (triplet_take(by=anna), triplet_take(by=boris)) == (first, second)
    assert triplet_upcoming(triplet=first, by=anna) == third
    triplet_review(triplet=first, state=SKIPPED, by=anna)
    assert triplet_take(by=anna) == third
    triplet_review(triplet=third, state=REJECTED, by=anna)
    assert triplet_take(by=anna) is None


def test_an_expired_hold_frees_the_triplet(anna: User, boris: User) -> None:
    (only,) = propose(1)
    assert triplet_take(by=anna) == only
    assert triplet_take(by=boris) is None
    Triplet.objects.update(reviewed_at=timezone.now() - HOLD)
    assert triplet_take(by=boris) == only


def test_the_first_decision_counts(anna: User, boris: User) -> None:
    (only,) = propose(1)
    triplet_review(triplet=only, state=REJECTED, by=anna)
    assert refusal(only, boris) == "already_reviewed"
    only.refresh_from_db()
    assert (only.state, only.reviewed_by) == ("rejected", anna)


@pytest.mark.django_db(transaction=True)
def test_one_of_two_concurrent_decisions_counts(anna: User, boris: User) -> None:
    (only,) = propose(1)

    def decide(number: int) -> str:
        try:
            triplet_review(triplet=only, state=(ACCEPTED, REJECTED)[number], by=(anna, boris)[number])
        except Refused as refused:
            return refused.code
        return ""

    codes = run_concurrently(2, decide)
    assert sorted(codes) == ["", "already_reviewed"]
    only.refresh_from_db()
    assert only.state == ("accepted", "rejected")[codes.index("")]


@pytest.mark.django_db(transaction=True)
def test_concurrent_reviewers_get_different_triplets(anna: User, boris: User) -> None:
    proposed = propose(3)
    taken = run_concurrently(2, lambda number: triplet_take(by=(anna, boris)[number]))
    assert len({one.pk for one in taken if one}) == 2
    assert {one.pk for one in taken if one} <= {one.pk for one in proposed}


def test_triplets_of_a_withdrawn_photo_are_neither_shown_nor_decided(anna: User) -> None:
    (only,) = propose(1)
    photo_consent_set(photo=only.anchor, may_train=False)
    assert triplet_take(by=anna) is None
    assert refusal(only, anna) == "photo_taken_back"
    assert UploadedPhoto.objects.filter(expires_at__gt=timezone.now() + timedelta(days=31)).count() == 0


def test_a_withdrawn_triplet_is_not_decided(anna: User) -> None:
    (only,) = propose(1)
    feedback_give(recommendation=only.query.recommendations.all()[0], verdict="")
    assert refusal(only, anna) == "already_reviewed"


@pytest.mark.parametrize(
    "columns", [{"may_train": False}, {"expires_at": timezone.now()}], ids=["no consent", "expired"]
)
def test_only_usable_triplets_are_reviewed(columns: dict[str, object]) -> None:
    propose()
    assert triplets_to_review().count() == 3
    UploadedPhoto.objects.update(**columns)
    assert triplets_to_review().count() == 0


def test_decisions_are_undone_in_reverse_order(anna: User, boris: User) -> None:
    first, second, third = propose()
    for triplet, state in ((first, ACCEPTED), (second, REJECTED)):
        triplet_review(triplet=triplet, state=state, by=anna)
    triplet_review(triplet=third, state=ACCEPTED, by=boris)
    assert triplet_undo(by=anna) == second
    assert triplet_take(by=anna) == second
    assert triplet_undo(by=anna) == first
    assert [triplet_take(by=anna), triplet_undo(by=anna)] == [first, None]
    assert list(Triplet.objects.order_by("pk").values_list("state", flat=True)) == ["proposed", "proposed", "accepted"]
    triplet_review(triplet=first, state=REJECTED, by=anna)
    assert triplet_take(by=anna) == second


def test_a_decision_cannot_be_undone_after_an_hour(anna: User) -> None:
    (only,) = propose(1)
    triplet_review(triplet=only, state=ACCEPTED, by=anna)
    Triplet.objects.update(reviewed_at=timezone.now() - UNDO)
    assert triplet_undo(by=anna) is None


def test_undoing_an_acceptance_resets_the_expiry_of_the_photo(anna: User) -> None:
    (only,) = propose(1)
    triplet_review(triplet=only, state=ACCEPTED, by=anna)
    longer = UploadedPhoto.objects.get().expires_at
    triplet_undo(by=anna)
    assert UploadedPhoto.objects.get().expires_at < longer - timedelta(days=300)


def test_undoing_does_not_restore_withdrawn_feedback(anna: User) -> None:
    (only,) = propose(1)
    triplet_review(triplet=only, state=ACCEPTED, by=anna)
    feedback_give(recommendation=only.query.recommendations.all()[0], verdict="")
    triplet_undo(by=anna)
    assert not Triplet.objects.exists()


@pytest.mark.parametrize("count", [1, 5])
def test_taking_a_triplet_needs_a_constant_number_of_sql_queries(
    anna: User, count: int, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    propose(count)
    with django_assert_num_queries(3):  # the held one, the first free one, and the hold
        triplet_take(by=anna)
