"""Endpoints of queries, without a worker."""

import json
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from django.db import connection
from pytest_django import DjangoAssertNumQueries
from rest_framework.renderers import JSONRenderer
from rest_framework.serializers import ModelSerializer
from rest_framework.test import APIClient, APIRequestFactory

from catalog import events
from catalog.api.serializers.photos import PhotoSerializer, UploadedPhotoSerializer
from catalog.api.serializers.queries import QuerySerializer
from catalog.models import Feedback, QueryState, SimilarityQuery, UploadedPhoto, User
from catalog.services.queries.read import queries_with_answers, query_with_answer
from catalog.services.queries.webhooks import webhook_create
from tests.helpers.api import QUERIES, answered_query, in_base64, multipart, run_concurrently
from tests.helpers.factories import jpeg, make_item_photo, make_query, make_upload

pytestmark = pytest.mark.django_db


def test_a_photo_in_a_form_creates_a_query(device: APIClient, me: User) -> None:
    filters = json.dumps({"category": "Dress", "max_price": 50})
    answer = device.post(QUERIES, **multipart(k="5", diversity="0.5", filters=filters))
    assert answer.status_code == 202, answer.content
    query = SimilarityQuery.objects.get()
    assert answer["Location"] == f"http://testserver/api/v1/queries/{query.pk}/"
    assert answer["Retry-After"] == "1"
    assert (query.k, query.diversity, query.filters) == (5, 0.5, {"category": "Dress", "max_price": 50})
    assert query.photo.owner == me
    assert query.timings["receive"] > 0
    body = answer.json()
    assert body["state"] == "queued"
    assert body["photo"]["url"].startswith(f"http://testserver/photos/uploads/{query.photo_id}/")
    assert body["recommendations"] == []
    assert body["error"] is body["encoder"] is body["finished_at"] is None
    assert device.get(answer["Location"]).json() == body


def with_line_breaks(text: str) -> str:
    return "".join(text[n : n + 76] + "\n" for n in range(0, len(text), 76))


@pytest.mark.parametrize(
    "encode",
    [str, with_line_breaks, "data:image/jpeg;base64,{}".format, " \r\n{}\t".format],
    ids=["plain", "android", "data", "spaces"],
)
def test_a_photo_in_base64_creates_a_query(device: APIClient, encode: Any) -> None:
    answer = device.post(QUERIES, {"photo": encode(in_base64(jpeg(size=(300, 400))))})
    assert answer.status_code == 202
    assert answer.json()["k"] == 10
    assert answer.json()["photo"]["width"] == 300


def test_the_same_photo_sent_twice_is_stored_once_with_two_queries(device: APIClient) -> None:
    for body in (multipart(), {"data": {"photo": in_base64(jpeg())}, "format": "json"}):
        assert device.post(QUERIES, **body).status_code == 202
    assert UploadedPhoto.objects.count() == 1
    assert SimilarityQuery.objects.count() == 2


def test_an_earlier_photo_can_be_queried_by_its_id(device: APIClient, me: User) -> None:
    photo = make_upload(me)
    answer = device.post(QUERIES, {"photo_id": str(photo.pk), "k": 3})
    assert answer.status_code == 202
    assert answer.json()["photo"]["id"] == str(photo.pk)


def test_prefer_wait_returns_200_when_the_query_ends_in_time(
    device: APIClient, me: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer_it(query_id: UUID, seconds: float) -> None:
        assert seconds == 20
        SimilarityQuery.objects.filter(pk=query_id).update(state=QueryState.DONE)

    monkeypatch.setattr(events, "wait_until_ended", answer_it)  # there is no worker; the real wait is a system test
    answer = device.post(QUERIES, **multipart(), HTTP_PREFER="respond-async, wait=3600")
    assert answer.status_code == 200
    assert answer["Preference-Applied"] == "wait=20"
    assert answer.json()["state"] == "done"
    assert "Location" in answer
    assert "Retry-After" not in answer


def test_prefer_wait_returns_202_after_the_wait(device: APIClient) -> None:
    answer = device.post(QUERIES, **multipart(), HTTP_PREFER="wait=1")
    assert answer.status_code == 202
    assert "Preference-Applied" not in answer


@pytest.mark.django_db(transaction=True)
@pytest.mark.database
def test_a_waiting_request_holds_no_transaction(device: APIClient, monkeypatch: pytest.MonkeyPatch) -> None:
    in_transaction = []
    monkeypatch.setattr(
        events, "wait_until_ended", lambda query_id, seconds: in_transaction.append(connection.in_atomic_block)
    )
    device.post(QUERIES, **multipart(), HTTP_PREFER="wait=2")
    assert in_transaction == [False]


@pytest.mark.parametrize(
    "preference", ["wait=0", "wait=-1", "wait=abc", "wait", "wait=", "return=minimal", ",;=,", "wait=\u0661", "wait=5x"]
)
def test_a_malformed_prefer_header_is_ignored(
    device: APIClient, preference: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "wait_until_ended", lambda *_: pytest.fail("it waited"))
    assert device.post(QUERIES, **multipart(), HTTP_PREFER=preference).status_code == 202


def test_an_answer_lists_the_items_by_rank_with_their_pictures(device: APIClient, me: User) -> None:
    query = answered_query(me, items=2)
    answer = device.get(f"{QUERIES}{query.pk}/")
    assert answer.status_code == 200
    assert "Retry-After" not in answer
    body = answer.json()
    assert query.encoder is not None
    assert (body["state"], body["encoder"]) == ("done", query.encoder.name)
    assert body["timings"] == {"embed": 61.5, "total": 120.25}
    assert [match["rank"] for match in body["recommendations"]] == [1, 2]
    first = body["recommendations"][0]
    recommendation = query.recommendations.get(rank=1)
    shown = recommendation.item.photos.get(position=0)
    assert first["score"] == 0.9
    assert first["item"]["price"] == "19.99"
    assert first["photo"]["url"] == f"http://testserver/photos/items/{recommendation.photo_id}/"
    assert first["item"]["photo"]["url"] == f"http://testserver/photos/items/{shown.pk}/"


def test_a_failed_query_has_its_error(device: APIClient, me: User) -> None:
    query = make_query(make_upload(me), state=QueryState.FAILED, error_code="no_encoder", error_detail="Not ready yet.")
    body = device.get(f"{QUERIES}{query.pk}/").json()
    assert body["error"] == {"code": "no_encoder", "detail": "Not ready yet."}


@pytest.mark.database
def test_the_fast_query_serializer_matches_its_declared_fields(me: User) -> None:
    """Our own `to_representation` returns the same as REST framework's."""
    request = APIRequestFactory().get("/")
    plain = make_query(make_upload(me))
    failed = make_query(make_upload(me), state=QueryState.FAILED, error_code="photo_gone", error_detail="It is gone.")
    filtered = make_query(
        make_upload(me),
        crop={"x": 0.1, "y": 0.2, "width": 0.5, "height": 0.5},
        filters={"category": "Dress", "max_price": 20.0, "in_stock": True},
        min_score=0.25,
        guess={"category": {"value": "Dress", "share": 0.8}, "not_clothes": True},
    )
    filtered.more_photos.add(make_upload(me))
    of_item = make_query(owner=me, item=make_item_photo().item)
    fetched = make_query(owner=me, source_url="http://shop.example/1.jpg", state=QueryState.TO_FETCH)
    webhook_create(query=plain, url="https://shop.example/webhook")
    answered = answered_query(me, items=2)
    Feedback.objects.create(recommendation=answered.recommendations.get(rank=1), verdict="up")
    for query in (plain, failed, filtered, of_item, fetched, answered):
        for read in (queries_with_answers(owner=me).get(pk=query.pk), query_with_answer(created=query)):
            quick = QuerySerializer(read, context={"request": request})
            by_fields = JSONRenderer().render(ModelSerializer.to_representation(quick, read))
            assert json.loads(json.dumps(quick.data)) == json.loads(by_fields)
            assert list(quick.data) == list(quick.fields)


def test_the_fast_photo_serializer_matches_its_declared_fields(me: User) -> None:
    photo, request = make_upload(me), APIRequestFactory().get("/")
    for serializer in (UploadedPhotoSerializer, PhotoSerializer):
        quick = serializer(photo, context={"request": request})
        assert quick.data == ModelSerializer.to_representation(quick, photo)
        assert list(quick.data) == list(quick.fields)


@pytest.mark.parametrize("items", [1, 12])
def test_reading_an_answer_takes_a_fixed_number_of_sql_queries(
    device: APIClient, me: User, items: int, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    query = answered_query(me, items=items)
    # the token; the query, its other photos, its recommendations, the photos of their items
    with django_assert_num_queries(5):
        device.get(f"{QUERIES}{query.pk}/")


@pytest.mark.parametrize("count", [1, 8])
def test_listing_takes_a_fixed_number_of_sql_queries(
    device: APIClient, me: User, count: int, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for _ in range(count):
        answered_query(me, items=2)
    # the token; the queries, their other photos
    with django_assert_num_queries(3):
        assert len(device.get(QUERIES).json()["results"]) == count


@pytest.mark.database
def test_my_queries_are_paged_newest_first_without_gaps(device: APIClient, me: User) -> None:
    photo = make_upload(me)
    ids = [str(make_query(photo).pk) for _ in range(5)]
    make_query()
    listed, url = [], f"{QUERIES}?page_size=2"
    while url:
        page = device.get(url).json()
        listed += [query["id"] for query in page["results"]]
        url = page["next"]
    assert listed == ids[::-1]


@pytest.mark.database
def test_parallel_uploads_of_the_same_photo_both_succeed(
    transactional_db: None, me: User, device: APIClient, media: Path
) -> None:
    answers = run_concurrently(4, lambda _: device.post(QUERIES, **multipart()))
    assert [answer.status_code for answer in answers] == [202] * 4
    assert UploadedPhoto.objects.count() == 1
    stored = [path for path in media.rglob("*") if path.is_file()]
    assert len(stored) == 1
