"""Pictures, straight from the storage."""

import io

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from knox.models import AuthToken
from PIL import Image

from tests.helpers.factories import jpeg, make_item, make_item_photo, make_upload, make_user

pytestmark = pytest.mark.django_db


def body(answer: object) -> bytes:
    streaming = getattr(answer, "streaming_content", None)
    return b"".join(streaming) if streaming else getattr(answer, "content", b"")


def test_a_picture_of_the_catalogue_is_public_and_kept_for_a_year(client: Client) -> None:
    photo = make_item_photo(content=jpeg("red"))
    answer = client.get(reverse("item-photo", args=[photo.pk]))
    assert body(answer) == jpeg("red")
    assert answer["Content-Type"] == "image/jpeg"
    assert answer["ETag"] == f'"{photo.sha256}"'
    assert answer["Cache-Control"] == "public, max-age=31536000, immutable"
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert not answer.cookies
    again = client.get(reverse("item-photo", args=[photo.pk]), headers={"If-None-Match": answer["ETag"]})
    assert (again.status_code, body(again), again["ETag"]) == (304, b"", answer["ETag"])


@pytest.mark.parametrize(("width", "expected"), [(160, (160, 320)), (320, (320, 640)), (640, (500, 1000))])
def test_a_smaller_picture_can_be_had_and_none_is_blown_up(
    client: Client, width: int, expected: tuple[int, int]
) -> None:
    photo = make_item_photo(content=jpeg(size=(500, 1000)))
    answer = client.get(reverse("item-photo", args=[photo.pk]), {"w": width})
    assert Image.open(io.BytesIO(body(answer))).size == expected
    assert answer["ETag"] == f'"{photo.sha256}-{width}"'


@pytest.mark.parametrize("width", ["161", "abc", "-1", "", "9" * 5000, "\0"])
def test_another_width_is_refused(client: Client, width: str) -> None:
    assert client.get(reverse("item-photo", args=[make_item_photo().pk]), {"w": width}).status_code == 400


@pytest.mark.parametrize("columns", [{"is_active": False}, {"deleted_at": timezone.now()}])
def test_pictures_of_what_cannot_be_found_are_for_staff_only(client: Client, columns: dict[str, object]) -> None:
    url = reverse("item-photo", args=[make_item_photo(make_item(**columns)).pk])
    assert client.get(url).status_code == 404
    client.force_login(make_user())
    assert client.get(url).status_code == 404
    client.force_login(make_user(is_staff=True))
    answer = client.get(url)
    assert answer.status_code == 200
    assert "public" not in answer["Cache-Control"]


def test_a_picture_whose_file_is_gone_is_404(client: Client) -> None:
    photo = make_item_photo()
    photo.file.delete(save=False)
    photo.file.name = "items/gone.jpg"
    photo.save()
    for query in ({}, {"w": "160"}):
        assert client.get(reverse("item-photo", args=[photo.pk]), query).status_code == 404


def test_a_persons_own_picture_answers_to_token_and_session_and_is_kept_private(client: Client) -> None:
    user = make_user()
    photo = make_upload(user, content=jpeg("green"))
    url = reverse("uploaded-photo", args=[photo.pk])
    token = AuthToken.objects.create(user=user)[1]
    with_token = Client().get(url, headers={"Authorization": f"Token {token}"})
    client.force_login(user)
    for answer in (with_token, client.get(url)):
        assert body(answer) == jpeg("green")
        assert answer["Cache-Control"] == "private, no-cache"  # after signing out it is asked for again, and refused
        assert {"Authorization", "Cookie"} <= set(answer["Vary"].replace(" ", "").split(","))


@pytest.mark.parametrize("header", ["Token wrong", "Token", "Token \xff"])
def test_a_wrong_token_opens_nothing_even_beside_the_right_session(client: Client, header: str) -> None:
    user = make_user()
    client.force_login(user)
    url = reverse("uploaded-photo", args=[make_upload(user).pk])
    assert client.get(url, headers={"Authorization": header}).status_code == 404


@pytest.mark.parametrize(
    "path", ["/photos/items/0/", "/photos/items/abc/", "/photos/uploads/abc/", "/photos/items/" + "9" * 40 + "/"]
)
def test_an_address_without_a_picture_is_404(client: Client, path: str) -> None:
    assert client.get(path).status_code == 404
