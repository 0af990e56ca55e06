"""Query batches: one request with a result for each entry."""

from typing import Any
from uuid import UUID

import pytest
from rest_framework.test import APIClient

from catalog import events
from catalog.models import QueryState, SimilarityQuery, UploadedPhoto, User
from tests.helpers.api import assert_refused, in_base64
from tests.helpers.factories import jpeg, make_item, make_upload, make_user

pytestmark = pytest.mark.django_db

BATCH = "/api/v1/queries/batch/"


def post(device: APIClient, *queries: Any, **headers: Any) -> Any:
    return device.post(BATCH, {"queries": list(queries)}, **headers)


def test_each_entry_has_its_result_in_order(device: APIClient, me: User) -> None:
    photo, item = make_upload(me), make_item()
    answer = post(device, {"photo": in_base64(jpeg())}, {"photo_id": str(photo.pk), "k": 3}, {"item_id": item.pk})
    assert answer.status_code == 200, answer.content
    results = answer.json()["results"]
    assert [result["status"] for result in results] == [202] * 3
    assert [result["replayed"] for result in results] == [False] * 3
    assert results[1]["query"]["photo"]["id"] == str(photo.pk)
    assert results[2]["query"]["item"]["id"] == item.pk
    assert SimilarityQuery.objects.owned_by(owner=me).count() == 3


def test_invalid_entries_do_not_fail_the_others(device: APIClient) -> None:
    invalid = [{"k": 3}, None, "x", [], {"photo": in_base64(b"text")}, {"photo": 5}, {"item_id": 1}]
    theirs = {"photo_id": str(make_upload(make_user()).pk)}
    answer = post(device, *invalid, {"photo": in_base64(jpeg())}, theirs)
    results = answer.json()["results"]
    assert [result["status"] for result in results] == [400, 400, 400, 400, 415, 400, 400, 202, 400]
    codes = [result["problem"]["code"] for result in results if "problem" in result]
    assert codes == ["invalid_input"] * 4 + ["photo_unreadable"] + ["invalid_input"] * 3
    assert results[0]["problem"]["errors"][0]["field"] == "photo"
    assert results[-1]["problem"]["errors"][0]["code"] == "unknown_photo"
    assert SimilarityQuery.objects.count() == 1


@pytest.mark.parametrize(
    "body",
    [{}, [], {"queries": []}, {"queries": {}}, {"queries": None}, {"queries": [{}] * 51}, {"queries": [{}], "k": 3}],
)
def test_an_invalid_batch_is_refused(device: APIClient, body: Any) -> None:
    assert_refused(device.post(BATCH, body), 400, "invalid_input")


def test_fifty_entries_are_accepted(device: APIClient) -> None:
    item = make_item()
    answer = post(device, *[{"item_id": item.pk}] * 50)
    assert len(answer.json()["results"]) == SimilarityQuery.objects.count() == 50


def test_the_idempotency_key_of_an_entry_is_the_batch_key_with_its_index(device: APIClient) -> None:
    items = [{"item_id": make_item().pk} for _ in range(3)]
    first = post(device, *items[:2], HTTP_IDEMPOTENCY_KEY="key").json()["results"]
    again = post(device, *items, HTTP_IDEMPOTENCY_KEY="key").json()["results"]
    assert [result["query"]["id"] for result in again[:2]] == [result["query"]["id"] for result in first]
    assert [result["replayed"] for result in again] == [True, True, False]
    assert set(SimilarityQuery.objects.values_list("idempotency_key", flat=True)) == {"key/0", "key/1", "key/2"}
    other = post(device, items[1], HTTP_IDEMPOTENCY_KEY="key").json()["results"]
    assert (other[0]["status"], other[0]["problem"]["code"]) == (422, "idempotency_key_reused")


def test_a_batch_key_too_long_for_an_index_is_refused(device: APIClient) -> None:
    answer = post(device, {"item_id": make_item().pk}, HTTP_IDEMPOTENCY_KEY="k" * 251)
    assert_refused(answer, 400, "idempotency_key_invalid")


def test_prefer_wait_applies_to_the_whole_batch(device: APIClient, monkeypatch: pytest.MonkeyPatch) -> None:
    waits = []

    def answer_it(query_id: UUID, seconds: float) -> None:
        waits.append(seconds)
        SimilarityQuery.objects.filter(pk=query_id).update(state=QueryState.DONE)

    monkeypatch.setattr(events, "wait_until_ended", answer_it)  # there is no worker
    item = make_item()
    answer = post(device, {"item_id": item.pk}, {"k": 1}, {"item_id": item.pk}, HTTP_PREFER="wait=5")
    assert [result["status"] for result in answer.json()["results"]] == [200, 400, 200]
    assert answer["Preference-Applied"] == "wait=5"
    assert len(waits) == 2
    assert 5 >= waits[0] >= waits[1] > 0


def test_a_field_name_with_a_lone_surrogate_fails_only_its_entry(device: APIClient) -> None:
    body = b'{"queries": [{"\\ud800": 1}, {"item_id": %d}]}' % make_item().pk
    answer = device.generic("POST", BATCH, body, content_type="application/json")
    assert answer.status_code == 200
    invalid, valid = answer.json()["results"]
    assert invalid["problem"]["errors"][0]["field"] == "?"
    assert valid["status"] == 202


def test_entries_that_do_not_end_in_time_are_202(device: APIClient) -> None:
    answer = post(device, {"item_id": make_item().pk}, HTTP_PREFER="wait=1")
    assert [result["status"] for result in answer.json()["results"]] == [202]
    assert "Preference-Applied" not in answer


def test_a_batch_costs_one_unit_per_entry(device: APIClient) -> None:
    from catalog.api.views.batches import QueryBatch

    class FakeRequest:
        def __init__(self, data: Any) -> None:
            self.data = data

    cost = QueryBatch().throttle_cost
    assert [cost(FakeRequest(data)) for data in ({"queries": [1] * 7}, {"queries": 3}, [], {"queries": [1] * 900})] == [  # type: ignore[arg-type]
        7,
        1,
        1,
        50,
    ]


def test_a_batch_without_credentials_is_refused(db: None) -> None:
    assert APIClient().post(BATCH, {"queries": [{}]}).status_code == 401
    assert not UploadedPhoto.objects.exists()
