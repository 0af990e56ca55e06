"""Upload page, with and without scripts."""

import re
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from catalog.models import SimilarityQuery, UploadedPhoto
from tests.helpers.factories import jpeg, make_user

pytestmark = pytest.mark.django_db

HTMX = {"HX-Request": "true"}


def file(content: bytes | None = None) -> SimpleUploadedFile:
    return SimpleUploadedFile("photo.jpg", jpeg() if content is None else content, "image/jpeg")


def test_the_page_is_public_and_sets_only_the_csrf_cookie(client: Client) -> None:
    answer = client.get("/")
    assert answer.status_code == 200
    assert set(answer.cookies) == {"csrftoken"}


def test_the_page_works_without_scripts_and_has_no_inline_ones(client: Client) -> None:
    page = client.get("/").content.decode()
    assert re.search(r'<form[^>]+action="/"[^>]+method="post"[^>]+enctype="multipart/form-data"', page)
    assert re.search(r'<label for="photo"', page)
    assert re.search(r'<input type="file" id="photo" name="photo" accept="image/\*', page)
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\son\w+=|\sstyle=", page)
    assert "//" not in re.sub(r"<!doctype.*?>", "", " ".join(re.findall(r'(?:src|href)="([^"]*)"', page)))


def test_a_visitors_photo_redirects_to_its_query(client: Client) -> None:
    answer = client.post("/", {"photo": file()})
    query = SimilarityQuery.objects.get()
    assert (answer.status_code, answer["Location"]) == (302, reverse("query", args=[query.pk]))
    assert query.photo.owner is None
    assert query.photo.visitor == client.session["visitor"]
    assert len(query.photo.visitor) >= 32
    assert query.timings["receive"] > 0
    assert client.get(answer["Location"]).status_code == 200
    assert Client().get(answer["Location"]).status_code == 404


def test_a_visitor_keeps_the_same_key(client: Client) -> None:
    for colour in ("red", "green"):
        client.post("/", {"photo": file(jpeg(colour))})
    assert UploadedPhoto.objects.values("visitor").distinct().count() == 1
    assert UploadedPhoto.objects.count() == 2


def test_the_photo_of_a_signed_in_user_belongs_to_the_user(client: Client) -> None:
    user = make_user()
    client.force_login(user)
    client.post("/", {"photo": file()})
    photo = UploadedPhoto.objects.get()
    assert (photo.owner, photo.visitor) == (user, "")


def test_htmx_gets_the_progress_in_place_of_the_form(client: Client) -> None:
    answer = client.post("/", {"photo": file()}, headers=HTMX)
    query = SimilarityQuery.objects.get()
    assert answer.status_code == 200
    assert answer["HX-Push-Url"] == reverse("query", args=[query.pk])
    part = answer.content.decode()
    assert "<html" not in part
    assert f'hx-get="{reverse("query", args=[query.pk])}?seen=queued"' in part


@pytest.mark.parametrize("content", [b"", b"this is no picture", jpeg(size=(300, 300))[:300]])
@pytest.mark.parametrize("headers", [{}, HTMX])
def test_a_refused_photo_gets_a_sentence(client: Client, media: Path, content: bytes, headers: dict[str, str]) -> None:
    answer = client.post("/", {"photo": file(content)}, headers=headers)
    assert 400 <= answer.status_code < 500
    sentence = re.search(r'role="alert">([^<]+)<', answer.content.decode())
    assert answer.get("HX-Retarget", "") == ("#refusal" if headers else "")
    assert (sentence is not None and sentence[1].strip().endswith(".")) or headers
    assert ("<form" in answer.content.decode()) is not bool(headers)
    assert not UploadedPhoto.objects.exists()
    assert [path for path in media.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("body", [{}, {"photo": "text in the place of a file"}])
def test_a_missing_photo_gets_a_sentence(client: Client, body: dict[str, Any]) -> None:
    answer = client.post("/", body)
    assert answer.status_code == 400
    assert "Choose a photo first." in answer.content.decode()


def test_a_too_large_body_gets_a_page(client: Client, settings: Settings) -> None:
    settings.MAX_BODY_BYTES = 10
    answer = client.post("/", {"photo": file()})
    assert answer.status_code == 413
    assert "<h1>" in answer.content.decode()


@pytest.mark.parametrize(
    "content_type",
    ["multipart/form-data; boundary=b", "multipart/form-data", "multipart/form-data; boundary=b; charset=base64"],
)
@pytest.mark.parametrize(
    "body", [b"", b"--b", b"\xff", b'--b\r\nContent-Disposition: form-data; name="photo"\r\n\r\nx\r\n--b--']
)
def test_a_broken_form_gets_a_page(content_type: str, body: bytes) -> None:
    for client in (Client(), Client(enforce_csrf_checks=True)):
        answer = client.generic("POST", "/", body, content_type=content_type)
        assert 400 <= answer.status_code < 500


def test_a_post_without_a_csrf_token_gets_a_page() -> None:
    answer = Client(enforce_csrf_checks=True).post("/", {"photo": file()})
    assert answer.status_code == 403


def test_a_full_disk_is_reported_at_the_form(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    from django.core.files.storage import FileSystemStorage

    def full(self: FileSystemStorage, name: str, content: Any) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(FileSystemStorage, "_save", full)
    answer = client.post("/", {"photo": file()})
    assert answer.status_code == 507
    assert "no space left" in answer.content.decode()
