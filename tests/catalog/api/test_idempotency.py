"""A request sent again under its key does its work once."""

from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from catalog.models import CatalogItem, SimilarityQuery, UploadedPhoto, User
from catalog.services.queries import create as service
from tests.helpers.api import QUERIES, assert_refused, in_base64, multipart, run_concurrently, signed_in_client
from tests.helpers.factories import jpeg, make_item, make_upload, make_user

pytestmark = [pytest.mark.django_db, pytest.mark.database]


def post(device: APIClient, key: str, **body: Any) -> Any:
    return device.post(QUERIES, {"photo": in_base64(jpeg()), **body}, HTTP_IDEMPOTENCY_KEY=key)


def test_the_same_request_under_the_same_key_is_the_same_query(device: APIClient) -> None:
    first, second = post(device, "a"), post(device, "a")
    assert first.status_code == second.status_code == 202
    assert first.json()["id"] == second.json()["id"]
    assert first["Location"] == second["Location"]
    assert "Idempotency-Replayed" not in first
    assert second["Idempotency-Replayed"] == "true"
    assert SimilarityQuery.objects.count() == 1
    assert "Idempotency-Replayed" not in post(device, "b")


def test_how_the_photo_was_sent_does_not_matter(device: APIClient) -> None:
    post(device, "a")
    again = device.post(QUERIES, **multipart(k="10"), HTTP_IDEMPOTENCY_KEY="a")
    assert again["Idempotency-Replayed"] == "true"


@pytest.mark.parametrize(
    "other", [{"k": 3}, {"diversity": 0.5}, {"filters": {"category": "Hat"}}, {"min_score": 0.1}, {"photo": "red"}]
)
def test_another_request_under_the_same_key_is_refused(device: APIClient, other: dict[str, Any]) -> None:
    post(device, "a")
    if "photo" in other:
        other = {"photo": in_base64(jpeg("red"))}
    assert_refused(post(device, "a", **other), 422, "idempotency_key_reused")
    assert SimilarityQuery.objects.count() == UploadedPhoto.objects.count() == 1


def test_an_item_under_the_key_of_another_item_is_refused(device: APIClient) -> None:
    for number, status in enumerate((202, 422)):
        body = {"item_id": make_item(name=str(number)).pk}
        assert device.post(QUERIES, body, HTTP_IDEMPOTENCY_KEY="a").status_code == status


def test_a_key_is_one_persons_own(device: APIClient) -> None:
    mine, theirs = post(device, "a"), post(signed_in_client(make_user()), "a", k=3)
    assert (mine.status_code, theirs.status_code) == (202, 202)
    assert mine.json()["id"] != theirs.json()["id"]


def test_a_key_lives_as_long_as_its_query(device: APIClient) -> None:
    first = post(device, "a")
    device.delete(first["Location"])
    assert post(device, "a", k=3).status_code == 202


def again(device: APIClient, body: dict[str, Any]) -> Any:
    return device.post(QUERIES, body, HTTP_IDEMPOTENCY_KEY="a")


def test_the_same_request_gets_its_query_although_the_item_was_hidden_meanwhile(device: APIClient) -> None:
    item, other = make_item(), make_item(is_active=False)
    first = again(device, {"item_id": item.pk})
    CatalogItem.objects.filter(pk=item.pk).update(is_active=False)
    second = again(device, {"item_id": item.pk})
    assert (second.status_code, second["Idempotency-Replayed"]) == (202, "true")
    assert second.json()["id"] == first.json()["id"]
    assert_refused(again(device, {"item_id": other.pk}), 400, "invalid_input", "item_id", "unknown_item")
    assert_refused(device.post(QUERIES, {"item_id": item.pk}), 400, "invalid_input", "item_id", "unknown_item")
    assert_refused(post(device, "a"), 422, "idempotency_key_reused")


@pytest.mark.parametrize("several", [False, True])
def test_the_same_request_gets_its_query_although_the_photos_time_is_over(
    device: APIClient, me: User, several: bool
) -> None:
    photo, more = make_upload(me), make_upload(me, content=jpeg("red"))
    body = {"photos": [str(photo.pk), str(more.pk)]} if several else {"photo_id": str(photo.pk)}
    first = again(device, body)
    UploadedPhoto.objects.update(expires_at=timezone.now())
    second = again(device, body)
    assert (second.status_code, second["Idempotency-Replayed"]) == (202, "true")
    assert second.json()["id"] == first.json()["id"]
    assert_refused(device.post(QUERIES, body), 400, "invalid_input")


def test_an_entry_of_a_batch_gets_its_query_although_the_item_was_hidden_meanwhile(device: APIClient) -> None:
    item = make_item()
    for replayed in (False, True):
        answer = device.post(f"{QUERIES}batch/", {"queries": [{"item_id": item.pk}]}, HTTP_IDEMPOTENCY_KEY="a")
        assert answer.json()["results"][0]["replayed"] is replayed
        CatalogItem.objects.filter(pk=item.pk).update(is_active=False)


def test_once_the_photo_is_deleted_and_the_query_with_it_the_request_is_a_new_one(device: APIClient, me: User) -> None:
    first = post(device, "a").json()
    by_id = {"photo_id": first["photo"]["id"]}
    device.post(QUERIES, by_id, HTTP_IDEMPOTENCY_KEY="b")
    device.delete(f"/api/v1/photos/{first['photo']['id']}/")
    second = post(device, "a")
    assert second.status_code == 202
    assert "Idempotency-Replayed" not in second
    assert second.json()["id"] != first["id"]
    refused = device.post(QUERIES, by_id, HTTP_IDEMPOTENCY_KEY="b")
    assert_refused(refused, 400, "invalid_input", "photo_id", "unknown_photo")


def test_nobody_gets_at_a_hidden_item_or_photo_by_the_key_of_somebody_else(device: APIClient, me: User) -> None:
    item, photo = make_item(), make_upload(me)
    again(device, {"item_id": item.pk})
    device.post(QUERIES, {"photo_id": str(photo.pk)}, HTTP_IDEMPOTENCY_KEY="b")
    CatalogItem.objects.update(is_active=False)
    other = signed_in_client(make_user())
    assert_refused(again(other, {"item_id": item.pk}), 400, "invalid_input", "item_id", "unknown_item")
    refused = other.post(QUERIES, {"photo_id": str(photo.pk)}, HTTP_IDEMPOTENCY_KEY="b")
    assert_refused(refused, 400, "invalid_input", "photo_id", "unknown_photo")


def test_without_a_key_each_request_is_a_query(device: APIClient) -> None:
    for _ in range(2):
        assert device.post(QUERIES, **multipart()).status_code == 202
    assert SimilarityQuery.objects.count() == 2


@pytest.mark.parametrize("key", ["", "a b", "x" * 256, "\u00e9", "\t", "a\x7f"])
def test_a_key_that_is_none_is_refused(device: APIClient, key: str, media: Path) -> None:
    assert_refused(post(device, key), 400, "idempotency_key_invalid")
    assert not media.exists()


@pytest.mark.parametrize("key", ["!", "~" * 255, '"8e03978e-40d5-43dd-bc93-6894a57f9324"'])
def test_every_visible_character_may_be_in_a_key(device: APIClient, key: str) -> None:
    assert post(device, key).status_code == 202
    assert SimilarityQuery.objects.get().idempotency_key == key


def test_of_two_requests_under_one_key_at_the_same_moment_one_makes_the_query(
    device: APIClient, media: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = service._save

    def save_after_the_other(*rows: Any) -> None:
        monkeypatch.setattr(service, "_save", save)
        post(device, "a")  # the other request comes between our look and our write
        save(*rows)

    monkeypatch.setattr(service, "_save", save_after_the_other)
    assert post(device, "a")["Idempotency-Replayed"] == "true"
    assert SimilarityQuery.objects.count() == UploadedPhoto.objects.count() == 1
    assert len([path for path in media.rglob("*") if path.is_file()]) == 1


def test_many_requests_under_one_key_from_many_threads_make_one_query(
    transactional_db: None, me: User, device: APIClient, media: Path
) -> None:
    answers = run_concurrently(6, lambda _: post(device, "a"))
    assert [answer.status_code for answer in answers] == [202] * 6
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert sum("Idempotency-Replayed" in answer for answer in answers) == 5
    assert len([path for path in media.rglob("*") if path.is_file()]) == 1
