"""Idempotency-Key: a retry with the same key returns the query of the first request."""

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


def test_a_retry_with_the_same_key_returns_the_same_query(device: APIClient) -> None:
    first, second = post(device, "a"), post(device, "a")
    assert first.status_code == second.status_code == 202
    assert first.json()["id"] == second.json()["id"]
    assert first["Location"] == second["Location"]
    assert "Idempotency-Replayed" not in first
    assert second["Idempotency-Replayed"] == "true"
    assert SimilarityQuery.objects.count() == 1
    assert "Idempotency-Replayed" not in post(device, "b")


def test_a_retry_may_send_the_photo_in_another_way(device: APIClient) -> None:
    post(device, "a")
    again = device.post(QUERIES, **multipart(k="10"), HTTP_IDEMPOTENCY_KEY="a")
    assert again["Idempotency-Replayed"] == "true"


@pytest.mark.parametrize(
    "other", [{"k": 3}, {"diversity": 0.5}, {"filters": {"category": "Hat"}}, {"min_score": 0.1}, {"photo": "red"}]
)
def test_a_different_request_with_the_same_key_is_refused(device: APIClient, other: dict[str, Any]) -> None:
    post(device, "a")
    if "photo" in other:
        other = {"photo": in_base64(jpeg("red"))}
    assert_refused(post(device, "a", **other), 422, "idempotency_key_reused")
    assert SimilarityQuery.objects.count() == UploadedPhoto.objects.count() == 1


def test_a_different_item_with_the_same_key_is_refused(device: APIClient) -> None:
    for number, status in enumerate((202, 422)):
        body = {"item_id": make_item(name=str(number)).pk}
        assert device.post(QUERIES, body, HTTP_IDEMPOTENCY_KEY="a").status_code == status


def test_keys_are_scoped_to_the_user(device: APIClient) -> None:
    first, other = post(device, "a"), post(signed_in_client(make_user()), "a", k=3)
    assert (first.status_code, other.status_code) == (202, 202)
    assert first.json()["id"] != other.json()["id"]


def test_a_key_is_free_again_once_its_query_is_deleted(device: APIClient) -> None:
    first = post(device, "a")
    device.delete(first["Location"])
    assert post(device, "a", k=3).status_code == 202


def again(device: APIClient, body: dict[str, Any]) -> Any:
    return device.post(QUERIES, body, HTTP_IDEMPOTENCY_KEY="a")


def test_a_retry_succeeds_although_the_item_is_hidden_since(device: APIClient) -> None:
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
def test_a_retry_succeeds_although_the_photo_has_expired_since(device: APIClient, me: User, several: bool) -> None:
    photo, more = make_upload(me), make_upload(me, content=jpeg("red"))
    body = {"photos": [str(photo.pk), str(more.pk)]} if several else {"photo_id": str(photo.pk)}
    first = again(device, body)
    UploadedPhoto.objects.update(expires_at=timezone.now())
    second = again(device, body)
    assert (second.status_code, second["Idempotency-Replayed"]) == (202, "true")
    assert second.json()["id"] == first.json()["id"]
    assert_refused(device.post(QUERIES, body), 400, "invalid_input")


def test_a_retried_batch_entry_succeeds_although_the_item_is_hidden_since(device: APIClient) -> None:
    item = make_item()
    for replayed in (False, True):
        answer = device.post(f"{QUERIES}batch/", {"queries": [{"item_id": item.pk}]}, HTTP_IDEMPOTENCY_KEY="a")
        assert answer.json()["results"][0]["replayed"] is replayed
        CatalogItem.objects.filter(pk=item.pk).update(is_active=False)


def test_after_the_photo_is_deleted_a_retry_creates_a_new_query(device: APIClient, me: User) -> None:
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


def test_the_key_of_another_user_gives_no_access_to_a_hidden_item_or_photo(device: APIClient, me: User) -> None:
    item, photo = make_item(), make_upload(me)
    again(device, {"item_id": item.pk})
    device.post(QUERIES, {"photo_id": str(photo.pk)}, HTTP_IDEMPOTENCY_KEY="b")
    CatalogItem.objects.update(is_active=False)
    other = signed_in_client(make_user())
    assert_refused(again(other, {"item_id": item.pk}), 400, "invalid_input", "item_id", "unknown_item")
    refused = other.post(QUERIES, {"photo_id": str(photo.pk)}, HTTP_IDEMPOTENCY_KEY="b")
    assert_refused(refused, 400, "invalid_input", "photo_id", "unknown_photo")


def test_without_a_key_each_request_creates_a_query(device: APIClient) -> None:
    for _ in range(2):
        assert device.post(QUERIES, **multipart()).status_code == 202
    assert SimilarityQuery.objects.count() == 2


@pytest.mark.parametrize("key", ["", "a b", "x" * 256, "\u00e9", "\t", "a\x7f"])
def test_an_invalid_key_is_refused(device: APIClient, key: str, media: Path) -> None:
    assert_refused(post(device, key), 400, "idempotency_key_invalid")
    assert not media.exists()


@pytest.mark.parametrize("key", ["!", "~" * 255, '"8e03978e-40d5-43dd-bc93-6894a57f9324"'])
def test_a_key_may_contain_every_visible_ascii_character(device: APIClient, key: str) -> None:
    assert post(device, key).status_code == 202
    assert SimilarityQuery.objects.get().idempotency_key == key


def test_a_concurrent_request_with_the_same_key_creates_one_query(
    device: APIClient, media: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = service._save

    def save_after_the_other(*rows: Any) -> None:
        monkeypatch.setattr(service, "_save", save)
        post(device, "a")  # the other request comes between lookup and insert
        save(*rows)

    monkeypatch.setattr(service, "_save", save_after_the_other)
    assert post(device, "a")["Idempotency-Replayed"] == "true"
    assert SimilarityQuery.objects.count() == UploadedPhoto.objects.count() == 1
    assert len([path for path in media.rglob("*") if path.is_file()]) == 1


def test_many_concurrent_requests_with_the_same_key_create_one_query(
    transactional_db: None, me: User, device: APIClient, media: Path
) -> None:
    answers = run_concurrently(6, lambda _: post(device, "a"))
    assert [answer.status_code for answer in answers] == [202] * 6
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert sum("Idempotency-Replayed" in answer for answer in answers) == 5
    assert len([path for path in media.rglob("*") if path.is_file()]) == 1
