"""Serving stored pictures: caching headers, thumbnails, access to private photos."""

import io

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from knox.models import AuthToken
from PIL import Image

from tests.helpers.factories import jpeg, make_item, make_item_photo, make_upload, make_user

pytestmark = pytest.mark.django_db


def body(response: object) -> bytes:
    streaming = getattr(response, "streaming_content", None)
    return b"".join(streaming) if streaming else getattr(response, "content", b"")


def test_an_item_photo_is_public_and_cacheable_for_a_year(client: Client) -> None:
    photo = make_item_photo(content=jpeg("red"))
    response = client.get(reverse("item-photo", args=[photo.pk]))
    assert body(response) == jpeg("red")
    assert response["Content-Type"] == "image/jpeg"
    assert response["ETag"] == f'"{photo.sha256}"'
    assert response["Cache-Control"] == "public, max-age=31536000, immutable"
    assert response["X-Content-Type-Options"] == "nosniff"
    assert not response.cookies
    again = client.get(reverse("item-photo", args=[photo.pk]), headers={"If-None-Match": response["ETag"]})
    assert (again.status_code, body(again), again["ETag"]) == (304, b"", response["ETag"])


@pytest.mark.parametrize(("width", "expected"), [(160, (160, 320)), (320, (320, 640)), (640, (500, 1000))])
def test_a_thumbnail_is_never_larger_than_the_picture(client: Client, width: int, expected: tuple[int, int]) -> None:
    photo = make_item_photo(content=jpeg(size=(500, 1000)))
    response = client.get(reverse("item-photo", args=[photo.pk]), {"w": width})
    assert Image.open(io.BytesIO(body(response))).size == expected
    assert response["ETag"] == f'"{photo.sha256}-{width}"'


@pytest.mark.parametrize("width", ["161", "abc", "-1", "", "9" * 5000, "\0"])
def test_an_unknown_width_is_refused(client: Client, width: str) -> None:
    assert client.get(reverse("item-photo", args=[make_item_photo().pk]), {"w": width}).status_code == 400


@pytest.mark.parametrize("columns", [{"is_active": False}, {"deleted_at": timezone.now()}])
def test_photos_of_hidden_and_deleted_items_are_for_staff_only(client: Client, columns: dict[str, object]) -> None:
    url = reverse("item-photo", args=[make_item_photo(make_item(**columns)).pk])
    assert client.get(url).status_code == 404
    client.force_login(make_user())
    assert client.get(url).status_code == 404
    client.force_login(make_user(is_staff=True))
    response = client.get(url)
    assert response.status_code == 200
    assert "public" not in response["Cache-Control"]


def test_a_photo_without_its_file_is_404(client: Client) -> None:
    photo = make_item_photo()
    photo.file.delete(save=False)
    photo.file.name = "items/gone.jpg"
    photo.save()
    for query in ({}, {"w": "160"}):
        assert client.get(reverse("item-photo", args=[photo.pk]), query).status_code == 404


def test_the_owner_opens_an_uploaded_photo_by_token_or_session_with_private_caching(client: Client) -> None:
    user = make_user()
    photo = make_upload(user, content=jpeg("green"))
    url = reverse("uploaded-photo", args=[photo.pk])
    token = AuthToken.objects.create(user=user)[1]
    with_token = Client().get(url, headers={"Authorization": f"Token {token}"})
    client.force_login(user)
    for response in (with_token, client.get(url)):
        assert body(response) == jpeg("green")
        # After signing out the browser revalidates and is refused.
        assert response["Cache-Control"] == "private, no-cache"
        assert {"Authorization", "Cookie"} <= set(response["Vary"].replace(" ", "").split(","))


@pytest.mark.parametrize("header", ["Token wrong", "Token", "Token \xff"])
def test_a_wrong_token_is_refused_even_with_a_valid_session(client: Client, header: str) -> None:
    user = make_user()
    client.force_login(user)
    url = reverse("uploaded-photo", args=[make_upload(user).pk])
    assert client.get(url, headers={"Authorization": header}).status_code == 404


@pytest.mark.parametrize(
    "path", ["/photos/items/0/", "/photos/items/abc/", "/photos/uploads/abc/", "/photos/items/" + "9" * 40 + "/"]
)
def test_a_url_without_a_photo_is_404(client: Client, path: str) -> None:
    assert client.get(path).status_code == 404
