"""Signed URLs of uploaded photos: validity, expiry, tampering, key rotation."""

from typing import Any
from uuid import uuid4

import pytest
from django.core.signing import Signer
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from catalog.models import UploadedPhoto
from catalog.photos import links
from catalog.photos.links import SPAN, signed_path
from tests.helpers.factories import jpeg, make_upload, make_user

pytestmark = pytest.mark.django_db

NOON = 1_800_000_000 // SPAN * SPAN


class Clock:
    def __init__(self) -> None:
        self.now = float(NOON)

    def time(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(links, "time", clock)
    return clock


@pytest.fixture
def photo() -> UploadedPhoto:
    return make_upload(content=jpeg("green"))


def status(path: str, **options: Any) -> int:
    return Client().get(path, **options).status_code


def test_a_signed_url_opens_without_signing_in(photo: UploadedPhoto) -> None:
    response = Client().get(signed_path(photo.pk))
    assert b"".join(response.streaming_content) == jpeg("green")  # type: ignore[attr-defined]
    assert response["Cache-Control"] == "private, no-cache"
    assert status(reverse("uploaded-photo", args=[photo.pk])) == 404  # without the signature


def test_a_signed_url_also_opens_thumbnails(photo: UploadedPhoto) -> None:
    assert status(f"{signed_path(photo.pk)}&w=160") == 200


def test_the_url_stays_the_same_for_one_span(photo: UploadedPhoto, clock: Clock) -> None:
    first = signed_path(photo.pk)
    clock.now = NOON + SPAN - 0.1
    assert signed_path(photo.pk) == first
    clock.now = NOON + SPAN
    assert signed_path(photo.pk) != first


@pytest.mark.parametrize("made_at", [NOON, NOON + SPAN - 1])
def test_a_url_expires_after_one_to_two_spans(photo: UploadedPhoto, clock: Clock, made_at: int) -> None:
    clock.now = made_at
    path = signed_path(photo.pk)
    clock.now = made_at + SPAN
    assert status(path) == 200
    clock.now = NOON + 2 * SPAN
    assert status(path) == 404


def test_a_url_opens_no_other_photo(photo: UploadedPhoto) -> None:
    other = make_upload()
    assert status(signed_path(photo.pk).replace(str(photo.pk), str(other.pk))) == 404
    assert status(signed_path(uuid4())) == 404


@pytest.mark.parametrize("until", ["", "0", "-1", "abc", "1e30", "²", "9" * 19, "9" * 5000, "inf", "%00"])
def test_the_expiry_time_cannot_be_changed(photo: UploadedPhoto, until: str) -> None:
    path, _, query = signed_path(photo.pk).partition("?")
    signature = query.partition("signature=")[2]
    assert status(f"{path}?until={until}&signature={signature}") == 404


@pytest.mark.parametrize("signature", ["", "x", ":", "a:b", "%00", "%ff", "ż", "A" * 5000])
def test_a_wrong_signature_is_refused(photo: UploadedPhoto, signature: str) -> None:
    path, _, query = signed_path(photo.pk).partition("?")
    until = query.partition("&")[0]
    assert status(f"{path}?{until}&signature={signature}") == 404
    assert status(f"{path}?{until}") == 404


def test_every_changed_character_invalidates_the_signature(photo: UploadedPhoto) -> None:
    start, _, signature = signed_path(photo.pk).rpartition("signature=")
    for place in range(len(signature) - 1):  # the last character has two unused bits
        changed = "A" if signature[place] != "A" else "B"
        assert status(f"{start}signature={signature[:place]}{changed}{signature[place + 1 :]}") == 404


def test_a_signature_with_another_salt_is_refused(photo: UploadedPhoto) -> None:
    path, _, query = signed_path(photo.pk).partition("?")
    until = query.partition("&")[0].removeprefix("until=")
    elsewhere = Signer(salt="something else").signature(f"{photo.pk}.{until}")
    assert status(f"{path}?until={until}&signature={elsewhere}") == 404


def test_a_new_secret_key_invalidates_urls_unless_the_old_one_is_a_fallback(
    photo: UploadedPhoto, settings: Settings
) -> None:
    path, old = signed_path(photo.pk), settings.SECRET_KEY
    settings.SECRET_KEY = "another one, as long as it is secret"
    assert status(path) == 404
    settings.SECRET_KEY_FALLBACKS = [old]
    assert status(path) == 200


def test_the_owner_can_still_open_an_expired_url(photo: UploadedPhoto, clock: Clock) -> None:
    browser = Client()
    assert photo.owner is not None
    browser.force_login(photo.owner)
    path = signed_path(photo.pk)
    clock.now = NOON + 10 * SPAN
    assert browser.get(path).status_code == 200
    browser.force_login(make_user())
    assert browser.get(path).status_code == 404


def test_a_url_of_a_deleted_photo_is_not_found(photo: UploadedPhoto) -> None:
    path = signed_path(photo.pk)
    etag = Client().get(path)["ETag"]
    assert status(path, headers={"If-None-Match": etag}) == 304
    photo.delete()
    assert status(path, headers={"If-None-Match": etag}) == 404
