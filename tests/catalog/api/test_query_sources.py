"""Sources of a query beside a new photo: items, earlier photos, URLs, several photos, crops."""

import json
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from pytest_django import DjangoAssertNumQueries
from rest_framework.test import APIClient

from catalog.models import QueryState, Recommendation, SimilarityQuery, UploadedPhoto, User
from catalog.services.uploads import upload_delete
from tests.helpers.api import QUERIES, answered_query, assert_refused, in_base64, multipart
from tests.helpers.factories import jpeg, make_item, make_item_photo, make_query, make_upload

pytestmark = pytest.mark.django_db


def test_a_query_by_item_returns_the_item(device: APIClient) -> None:
    item = make_item_photo(make_item(name="Green hat")).item
    answer = device.post(QUERIES, {"item_id": item.pk, "k": 3})
    assert answer.status_code == 202, answer.content
    body = answer.json()
    assert (body["item"]["id"], body["item"]["name"]) == (item.pk, "Green hat")
    assert body["photo"] is body["photo_url"] is body["crop"] is None
    assert SimilarityQuery.objects.get().item == item


@pytest.mark.parametrize("columns", [{"is_active": False}, {"deleted_at": "2026-01-01T00:00:00Z"}])
def test_a_hidden_or_deleted_item_cannot_be_queried(device: APIClient, columns: dict[str, Any]) -> None:
    answer = device.post(QUERIES, {"item_id": make_item(**columns).pk})
    assert_refused(answer, 400, "invalid_input", "item_id", "unknown_item")


def test_a_photo_by_url_is_fetched_later(device: APIClient) -> None:
    answer = device.post(QUERIES, {"photo_url": "https://shop.example/1.jpg", "k": 3})
    assert answer.status_code == 202, answer.content
    assert (answer.json()["state"], answer.json()["photo"]) == ("to_fetch", None)
    assert answer.json()["photo_url"] == "https://shop.example/1.jpg"
    assert SimilarityQuery.objects.get().source_url == "https://shop.example/1.jpg"


def test_a_body_may_be_the_picture_with_the_fields_in_the_query_string(device: APIClient, me: User) -> None:
    filters = json.dumps({"category": "Dress"})
    path = f"{QUERIES}?k=4&diversity=0.5&filters={filters}"
    answer = device.generic("POST", path, jpeg(size=(300, 400)), content_type="image/jpeg")
    assert answer.status_code == 202, answer.content
    query = SimilarityQuery.objects.get()
    assert (query.k, query.diversity, query.filters) == (4, 0.5, {"category": "Dress"})
    assert query.photo is not None
    assert (query.photo.owner, query.photo.width) == (me, 300)
    wrong = device.generic("POST", f"{QUERIES}?k=0", jpeg(), content_type="image/jpeg")
    assert_refused(wrong, 400, "invalid_input", "k", "min_value")


def test_several_photos_may_be_new_ones_and_earlier_ids(device: APIClient, me: User) -> None:
    earlier = make_upload(me)
    photos = [in_base64(jpeg("red")), str(earlier.pk), in_base64(jpeg("navy"))]
    answer = device.post(QUERIES, {"photos": photos})
    assert answer.status_code == 202, answer.content
    query = SimilarityQuery.objects.get()
    assert query.photo is not None
    assert UploadedPhoto.objects.count() == 3
    assert query.photo.pk != earlier.pk
    assert earlier in query.more_photos.all()
    assert {photo["id"] for photo in answer.json()["more_photos"]} == {
        str(photo.pk) for photo in UploadedPhoto.objects.exclude(pk=query.photo.pk)
    }


@pytest.mark.parametrize("name", ["photo", "photos"])
def test_several_files_of_a_form_are_photos_of_one_garment(device: APIClient, name: str) -> None:
    files = [SimpleUploadedFile(f"{colour}.jpg", jpeg(colour), "image/jpeg") for colour in ("red", "navy")]
    answer = device.post(QUERIES, {name: files}, format="multipart")
    assert answer.status_code == 202, answer.content
    assert SimilarityQuery.objects.get().more_photos.count() == 1


@pytest.mark.database
def test_the_same_photo_among_several_is_stored_once(device: APIClient, media: Path) -> None:
    answer = device.post(QUERIES, {"photos": [in_base64(jpeg())] * 3})
    assert answer.status_code == 202, answer.content
    assert answer.json()["more_photos"] == []
    assert len([path for path in media.rglob("*") if path.is_file()]) == 1


@pytest.mark.database
def test_deleting_any_photo_of_a_query_deletes_the_query(device: APIClient) -> None:
    for number in (0, 1):
        device.post(QUERIES, {"photos": [in_base64(jpeg("red")), in_base64(jpeg("navy"))]})
        query = SimilarityQuery.objects.get()
        upload_delete(photo=[query.photo, query.more_photos.get()][number])  # type: ignore[arg-type]
        assert not SimilarityQuery.objects.exists()


@pytest.mark.database
def test_a_crop_is_stored_as_fractions(device: APIClient) -> None:
    crop = {"x": 0.25, "y": 0, "width": 0.5, "height": 1}
    for body in (multipart(crop=json.dumps(crop)), {"data": {"photo": in_base64(jpeg()), "crop": crop}}):
        answer = device.post(QUERIES, **body)
        assert answer.status_code == 202, answer.content
        assert answer.json()["crop"] == crop


@pytest.mark.database
def test_a_minimum_score_and_the_newer_filters_are_stored(device: APIClient) -> None:
    body = {"photo": in_base64(jpeg()), "min_score": 0.4, "filters": {"in_stock": True, "collection": "Summer"}}
    answer = device.post(QUERIES, body)
    assert answer.json()["min_score"] == 0.4
    assert answer.json()["filters"] == {"in_stock": True, "collection": "Summer"}
    assert SimilarityQuery.objects.get().filters == {"in_stock": True, "collection": "Summer"}


def test_an_answer_has_outcome_guess_probability_and_reasons(device: APIClient, me: User) -> None:
    query = answered_query(me, items=1)
    guess = {"not_clothes": True, "category": {"value": "Dress", "share": 0.8}}
    why = {"same_category": True, "colour_distance": 3.1, "agrees": ["gender"]}
    assert device.get(f"{QUERIES}{query.pk}/").json()["outcome"] is None
    SimilarityQuery.objects.update(outcome="close_match", guess=guess)
    Recommendation.objects.update(probability=0.62, why=why)
    body = device.get(f"{QUERIES}{query.pk}/").json()
    assert body["outcome"] == "close_match"
    assert body["guess"] == {"category": {"value": "Dress", "share": 0.8}}
    assert body["probably_not_clothes"] is True
    (recommendation,) = body["recommendations"]
    assert (recommendation["probability"], recommendation["why"]) == (0.62, why)
    assert recommendation["item"]["in_stock"] is True


def test_an_answer_without_stored_reasons_has_null(device: APIClient, me: User) -> None:
    (recommendation,) = device.get(f"{QUERIES}{answered_query(me, items=1).pk}/").json()["recommendations"]
    assert recommendation["probability"] is recommendation["why"] is None


def test_the_list_of_queries_can_be_filtered_by_state(device: APIClient, me: User) -> None:
    done = make_query(make_upload(me), state=QueryState.DONE)
    make_query(make_upload(me))
    listed = device.get(f"{QUERIES}?state=done").json()["results"]
    assert [query["id"] for query in listed] == [str(done.pk)]
    assert_refused(device.get(f"{QUERIES}?state=lost"), 400, "invalid_input", "state", "invalid_choice")


@pytest.mark.parametrize("count", [1, 6])
def test_listing_queries_by_item_takes_a_fixed_number_of_sql_queries(
    device: APIClient, me: User, count: int, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for _ in range(count):
        make_query(item=make_item_photo().item, owner=me)
    # the token; the queries, their other photos, the photos of their items
    with django_assert_num_queries(4):
        assert len(device.get(QUERIES).json()["results"]) == count


def test_deleting_a_query_keeps_its_photo(device: APIClient, me: User) -> None:
    query = answered_query(me)
    assert device.delete(f"{QUERIES}{query.pk}/").status_code == 204
    assert device.get(f"{QUERIES}{query.pk}/").status_code == 404
    assert not Recommendation.objects.exists()
    assert UploadedPhoto.objects.filter(pk=query.photo_id).exists()


@pytest.mark.database
def test_a_query_deleted_during_the_wait_is_404(device: APIClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("catalog.events.wait_until_ended", lambda *_: SimilarityQuery.objects.all().delete())
    assert_refused(device.post(QUERIES, **multipart(), HTTP_PREFER="wait=2"), 404, "not_found")
