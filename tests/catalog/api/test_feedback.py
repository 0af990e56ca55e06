"""Feedback on recommendations by the API."""

from typing import Any

import pytest
from pytest_django import DjangoAssertNumQueries
from rest_framework.test import APIClient

from catalog.models import Feedback, Recommendation, SimilarityQuery, Triplet, UploadedPhoto, User
from tests.helpers.api import answered_query, assert_refused, run_concurrently, signed_in_client
from tests.helpers.api_schema import assert_matches_schema
from tests.helpers.factories import make_item, make_item_photo, make_query, make_user

pytestmark = pytest.mark.django_db

V1 = "/api/v1/"


@pytest.fixture
def query(me: User) -> SimilarityQuery:
    return answered_query(me)


def address(recommendation: Recommendation) -> str:
    return f"{V1}recommendations/{recommendation.pk}/feedback/"


def ranked(query: SimilarityQuery) -> list[Recommendation]:
    return list(query.recommendations.order_by("rank"))


def give(device: APIClient, recommendation: Recommendation, **fields: object) -> Any:
    answer = device.post(address(recommendation), fields)
    assert answer.status_code == 200, answer.content
    return answer.json()


def test_feedback_is_returned_with_its_recommendation(device: APIClient, query: SimilarityQuery) -> None:
    first, second, third = ranked(query)
    assert give(device, first, verdict="up") == {"verdict": "up", "clicked": False, "may_train": False}
    assert give(device, second, clicked=True) == {"verdict": None, "clicked": True, "may_train": False}
    shown = device.get(f"{V1}queries/{query.pk}/").json()["recommendations"]
    assert [row["id"] for row in shown] == [first.pk, second.pk, third.pk]
    assert [row["feedback"] for row in shown] == [
        {"verdict": "up", "clicked": False},
        {"verdict": None, "clicked": True},
        {"verdict": None, "clicked": False},
    ]


def test_feedback_is_idempotent(device: APIClient, query: SimilarityQuery) -> None:
    first = ranked(query)[0]
    for fields in ({"verdict": "down"}, {"clicked": True}, {"may_train": True}):
        answer = give(device, first, **fields)
        before = list(Feedback.objects.values())
        assert give(device, first, **fields) == answer
        assert list(Feedback.objects.values()) == before


def test_a_verdict_can_be_changed_and_removed_but_a_click_stays(device: APIClient, query: SimilarityQuery) -> None:
    first, second, _ = ranked(query)
    give(device, first, verdict="up", clicked=True)
    assert give(device, first, verdict="down")["verdict"] == "down"
    assert give(device, first, verdict=None) == {"verdict": None, "clicked": True, "may_train": False}
    assert give(device, first, clicked=False)["clicked"] is True
    give(device, second, verdict="up")
    give(device, second, verdict=None)
    assert Feedback.objects.get().recommendation == first  # feedback without content is deleted


def test_omitted_fields_keep_their_value(device: APIClient, query: SimilarityQuery) -> None:
    first = ranked(query)[0]
    give(device, first, verdict="up", may_train=True)
    assert give(device, first) == give(device, first, clicked=False)
    assert give(device, first) == {"verdict": "up", "clicked": False, "may_train": True}


@pytest.mark.database
def test_consent_creates_triplets_and_withdrawing_deletes_them(device: APIClient, query: SimilarityQuery) -> None:
    first, second, _ = ranked(query)
    give(device, first, verdict="up", may_train=True)
    give(device, second, verdict="down")
    triplet = Triplet.objects.get()
    assert (triplet.positive, triplet.negative) == (first.photo, second.photo)
    photo = device.get(f"{V1}photos/{query.photo_id}/").json()
    assert photo["may_train"] is device.get(f"{V1}queries/{query.pk}/").json()["photo"]["may_train"] is True
    give(device, second, may_train=False)
    assert not Triplet.objects.exists()
    assert not UploadedPhoto.objects.get().may_train


@pytest.mark.django_db(transaction=True)
@pytest.mark.database
def test_concurrent_verdicts_create_all_triplets(me: User) -> None:
    recommendations = ranked(answered_query(me))
    UploadedPhoto.objects.update(may_train=True)
    phones = [signed_in_client(me) for _ in recommendations]
    run_concurrently(
        3, lambda number: give(phones[number], recommendations[number], verdict="down" if number else "up")
    )
    assert Triplet.objects.filter(positive=recommendations[0].photo).count() == 2


def test_a_query_by_item_has_no_consent(device: APIClient, me: User) -> None:
    query = make_query(item=make_item(), owner=me, state="done")
    shown = make_item_photo()
    recommendation = query.recommendations.create(rank=1, item=shown.item, photo=shown, score=0.5)
    assert give(device, recommendation, verdict="up", may_train=True) == {
        "verdict": "up",
        "clicked": False,
        "may_train": None,
    }


@pytest.mark.parametrize(
    "body",
    [
        {"verdict": "sideways"},
        {"verdict": ""},
        {"verdict": ["up"]},
        {"verdict": True},
        {"clicked": "perhaps"},
        {"clicked": None},
        {"may_train": None},
        {"may_train": 7},
        {"stars": 5},
        [],
        "up",
    ],
)
def test_invalid_feedback_is_refused_and_not_stored(device: APIClient, query: SimilarityQuery, body: object) -> None:
    assert_refused(device.post(address(ranked(query)[0]), body), 400, "invalid_input")
    assert not Feedback.objects.exists()


@pytest.mark.parametrize("number", ["0", "99999999", "9" * 19, "9" * 4000])
def test_feedback_on_an_unknown_recommendation_is_404(device: APIClient, number: str) -> None:
    assert_refused(device.post(f"{V1}recommendations/{number}/feedback/", {"verdict": "up"}), 404, "not_found")


def test_feedback_on_the_recommendation_of_another_user_is_404(query: SimilarityQuery) -> None:
    recommendation = ranked(query)[0]
    assert_refused(signed_in_client(make_user()).post(address(recommendation), {"verdict": "up"}), 404, "not_found")
    visitors = make_query(visitor="a browser", item=make_item())
    theirs = visitors.recommendations.create(rank=1, item=recommendation.item, photo=recommendation.photo, score=0.5)
    assert_refused(signed_in_client(make_user()).post(address(theirs), {"verdict": "up"}), 404, "not_found")
    assert not Feedback.objects.exists()


def test_the_accounts_consent_applies_to_new_photos(device: APIClient, me: User, query: SimilarityQuery) -> None:
    assert device.get(f"{V1}me/").json()["may_train"] is False
    assert device.patch(f"{V1}me/", {"may_train": True}).json()["may_train"] is True
    assert device.get(f"{V1}photos/{query.photo_id}/").json()["may_train"] is False
    give(device, ranked(query)[0], may_train=True)
    assert device.patch(f"{V1}me/", {"first_name": "Maria"}).json()["may_train"] is True
    assert device.patch(f"{V1}me/", {"may_train": False}).json()["may_train"] is False
    assert device.get(f"{V1}photos/{query.photo_id}/").json()["may_train"] is False
    assert_refused(device.patch(f"{V1}me/", {"may_train": None}), 400, "invalid_input", "may_train")


def test_feedback_responses_match_the_schema(schema: dict[str, Any], device: APIClient, query: SimilarityQuery) -> None:
    one = f"{V1}recommendations/{{id}}/feedback/"
    first = ranked(query)[0]
    for body in ({"verdict": "up", "clicked": True, "may_train": True}, {"verdict": None}, {"verdict": 1}):
        assert_matches_schema(schema, one, "post", device.post(address(first), body))
    assert_matches_schema(schema, one, "post", device.post(f"{V1}recommendations/0/feedback/", {}))
    assert_matches_schema(schema, f"{V1}queries/{{id}}/", "get", device.get(f"{V1}queries/{query.pk}/"))
    assert_matches_schema(schema, f"{V1}me/", "patch", device.patch(f"{V1}me/", {"may_train": True}))


@pytest.mark.parametrize("items", [2, 9])
def test_feedback_takes_a_fixed_number_of_sql_queries(
    device: APIClient, me: User, items: int, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    first = ranked(answered_query(me, items=items))[0]
    # the token, the recommendation; in a savepoint: lock recommendation and photo, read and write the feedback
    with django_assert_num_queries(8):
        give(device, first, verdict="up")
    with django_assert_num_queries(7):
        give(device, first, verdict="up")
