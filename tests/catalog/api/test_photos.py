"""Endpoints of uploaded photos: every way of sending, every format, listing, deleting."""

import io
from datetime import timedelta
from pathlib import Path
from typing import Any

import pillow_heif
import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.utils import timezone
from PIL import Image
from pytest_django import DjangoAssertNumQueries, Settings
from rest_framework.test import APIClient

from catalog.models import SimilarityQuery, UploadedPhoto, User
from tests.helpers.api import assert_refused, in_base64, run_concurrently, signed_in_client
from tests.helpers.factories import jpeg, make_query, make_upload, make_user
from tests.helpers.pictures import CORNERS, encode_image, exif_with_orientation, four_colours

pytestmark = pytest.mark.django_db

PHOTOS = "/api/v1/photos/"


def send(device: APIClient, way: str, content: bytes) -> Any:
    """Post a picture as a form, as JSON or as the raw body."""
    if way == "form":
        return device.post(PHOTOS, {"photo": SimpleUploadedFile("p.jpg", content)}, format="multipart")
    if way == "json":
        return device.post(PHOTOS, {"photo": in_base64(content)}, format="json")
    return device.generic("POST", PHOTOS, content, content_type=way)


WAYS = ("form", "json", "image/jpeg", "image/heic", "image/x-whatever", "application/octet-stream")


@pytest.mark.parametrize("way", WAYS)
def test_a_photo_is_stored_in_every_way_of_sending(device: APIClient, me: User, way: str) -> None:
    answer = send(device, way, jpeg(size=(300, 400)))
    assert answer.status_code == 201, answer.content
    photo = UploadedPhoto.objects.get()
    assert photo.owner == me
    body = answer.json()
    assert answer["Location"] == f"http://testserver/api/v1/photos/{photo.pk}/"
    assert (body["id"], body["width"], body["height"], body["size"]) == (str(photo.pk), 300, 400, photo.size)
    assert set(body["thumbnails"]) == {"160", "320", "640"}
    assert "expires_at" in body and "created_at" in body
    assert device.get(answer["Location"]).json() == body


@pytest.mark.database
def test_the_same_bytes_twice_are_one_photo_with_a_new_expiry(device: APIClient) -> None:
    first = send(device, "form", jpeg())
    UploadedPhoto.objects.update(expires_at=timezone.now() + timedelta(days=1))
    again = send(device, "image/jpeg", jpeg())
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json()["id"] == first.json()["id"]
    assert UploadedPhoto.objects.get().expires_at > timezone.now() + timedelta(days=2)
    assert send(signed_in_client(make_user()), "form", jpeg()).status_code == 201  # another user gets another photo


@pytest.mark.django_db(transaction=True)
@pytest.mark.database
def test_the_same_bytes_sent_concurrently_are_one_photo_with_one_file(me: User, media: Path) -> None:
    devices = [signed_in_client(me) for _ in range(4)]
    answers = run_concurrently(4, lambda number: send(devices[number], "form", jpeg()))
    assert sorted(answer.status_code for answer in answers) == [200, 200, 200, 201]
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert len([path for path in media.rglob("*") if path.is_file()]) == 1


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF", "HEIF", "GIF"])
@pytest.mark.parametrize("way", ["form", "application/octet-stream"])
def test_every_format_is_accepted_and_returned_as_the_same_picture(device: APIClient, kind: str, way: str) -> None:
    answer = send(device, way, encode_image(four_colours(), kind))
    assert answer.status_code == 201, answer.content
    assert [alike(*pair) for pair in zip(corners(picture_at(answer.json()["url"])), CORNERS, strict=True)] == [True] * 4


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "AVIF", "HEIF"])
def test_exif_is_removed_and_the_picture_is_upright(device: APIClient, kind: str) -> None:
    raw = encode_image(four_colours((96, 64)), kind, exif=with_place(6))
    assert b"Ursus" in raw
    answer = send(device, "image/*", raw)
    assert answer.status_code == 201, answer.content
    content = content_at(answer.json()["url"])
    with Image.open(io.BytesIO(content)) as picture:
        assert picture.size == (64, 96)
        assert dict(picture.getexif()) == {}
    for trace in (b"Exif", b"Ursus", b"GPS"):
        assert trace not in content
        assert trace not in Path(UploadedPhoto.objects.get().file.path).read_bytes()


def with_place(orientation: int) -> bytes:
    """EXIF of a camera held sideways, with GPS coordinates in Warsaw."""
    exif = Image.Exif()
    exif.load(exif_with_orientation(orientation))
    exif[0x010F] = "Ursus"
    exif.get_ifd(0x8825).update({1: "N", 2: (52.0, 13.0, 47.0), 3: "E", 4: (21.0, 0.0, 44.0)})
    return exif.tobytes()


def test_the_heic_of_the_test_above_has_gps_coordinates() -> None:
    raw = encode_image(four_colours((96, 64)), "HEIF", exif=with_place(6))
    exif = Image.Exif()
    exif.load(pillow_heif.open_heif(io.BytesIO(raw)).info["exif"])
    assert exif.get_ifd(0x8825)[2] == (52.0, 13.0, 47.0)


def content_at(url: str) -> bytes:
    """Return the content of a URL, requested without credentials."""
    answer = Client().get(url)
    assert answer.status_code == 200
    return b"".join(answer.streaming_content) if answer.streaming else answer.content  # type: ignore[attr-defined]


def picture_at(url: str) -> Image.Image:
    return Image.open(io.BytesIO(content_at(url))).convert("RGB")


def corners(image: Image.Image) -> list[tuple[int, ...]]:
    width, height = image.size
    places = [(width // 4, height // 4), (3 * width // 4, height // 4)]
    places += [(x, 3 * height // 4) for x, _ in places]
    return [image.getpixel(place) for place in places]  # type: ignore[misc]


def alike(actual: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    return all(abs(one - other) <= 16 for one, other in zip(actual, wanted, strict=True))


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        (b"nothing like a picture", 415, "photo_unreadable"),
        (b"%PDF-1.7", 415, "photo_format_unsupported"),
        (jpeg()[:300], 400, "photo_damaged"),
        (jpeg(size=(4, 4)), 400, "photo_too_small"),
    ],
)
@pytest.mark.parametrize("way", ["form", "json", "image/jpeg"])
def test_an_unusable_picture_is_refused_and_not_stored(
    device: APIClient, media: Path, way: str, content: bytes, status: int, code: str
) -> None:
    assert_refused(send(device, way, content), status, code)
    assert not UploadedPhoto.objects.exists()
    assert [path for path in media.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("way", ["image/jpeg", "application/octet-stream"])
def test_an_empty_body_is_refused(device: APIClient, way: str) -> None:
    assert_refused(send(device, way, b""), 400, "invalid_input", "photo", "required")


@pytest.mark.parametrize("body", ["{}", '{"photo": null}', '{"photo": 5}', '{"photo": ["AAAA"]}', "[]", '"text"'])
def test_a_body_without_a_photo_is_refused(device: APIClient, body: str) -> None:
    answer = device.generic("POST", PHOTOS, body, content_type="application/json")
    assert_refused(answer, 400, "invalid_input")


def test_unknown_fields_are_refused_in_body_and_query_string(device: APIClient) -> None:
    in_body = device.post(PHOTOS, {"photo": in_base64(jpeg()), "k": 5})
    in_address = device.generic("POST", f"{PHOTOS}?k=5", jpeg(), content_type="image/jpeg")
    for answer in (in_body, in_address):
        assert_refused(answer, 400, "invalid_input", "k", "unknown_field")


def test_an_unsupported_content_type_is_refused(device: APIClient) -> None:
    assert_refused(send(device, "text/plain", jpeg()), 415, "unsupported_media_type")


def test_a_too_large_photo_is_refused_in_every_way_of_sending(device: APIClient, settings: Settings) -> None:
    settings.MAX_UPLOAD_MB = 1
    large = encode_image(Image.effect_noise((1400, 1400), 90), "PNG")
    assert len(large) > 2**20
    for way in ("form", "json", "image/png"):
        assert_refused(send(device, way, large), 413, "photo_too_large")


# --- reading


@pytest.mark.database
def test_my_unexpired_photos_are_paged_newest_first(device: APIClient, me: User) -> None:
    photos = [make_upload(me) for _ in range(3)]
    make_upload(me, expires_at=timezone.now() - timedelta(seconds=1))
    make_upload(make_user())
    make_upload(visitor="a browser")
    page = device.get(PHOTOS, {"page_size": 2}).json()
    rest = device.get(page["next"]).json()
    assert rest["next"] is None
    assert [photo["id"] for photo in page["results"] + rest["results"]] == [str(photo.pk) for photo in photos[::-1]]


@pytest.mark.parametrize("count", [1, 9])
def test_listing_photos_takes_a_fixed_number_of_sql_queries(
    device: APIClient, me: User, count: int, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for _ in range(count):
        make_upload(me)
    device.get(PHOTOS)  # the first request of a device writes last_seen_at
    with django_assert_num_queries(2):  # the token, the photos
        assert len(device.get(PHOTOS).json()["results"]) == count


def test_reading_a_photo_takes_two_sql_queries(
    device: APIClient, me: User, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    url = f"{PHOTOS}{make_upload(me).pk}/"
    device.get(url)
    with django_assert_num_queries(2):
        assert device.get(url).status_code == 200


def test_an_expired_photo_is_404(device: APIClient, me: User) -> None:
    over = make_upload(me, expires_at=timezone.now() - timedelta(seconds=1))
    assert_refused(device.get(f"{PHOTOS}{over.pk}/"), 404, "not_found")


@pytest.mark.parametrize("method", ["get", "post", "delete"])
def test_photos_need_credentials(client: Client, method: str) -> None:
    photo = make_upload()
    for path in (PHOTOS, f"{PHOTOS}{photo.pk}/"):
        assert getattr(client, method)(path).status_code == 401
    assert UploadedPhoto.objects.filter(pk=photo.pk).exists()


# --- deleting


@pytest.mark.database
def test_deleting_a_photo_deletes_its_file_queries_and_urls(device: APIClient, me: User) -> None:
    photo = make_upload(me)
    make_query(photo)
    other = make_query(make_upload(me))
    shown = device.get(f"{PHOTOS}{photo.pk}/").json()
    file = Path(photo.file.path)
    addresses = [shown["url"], *shown["thumbnails"].values()]
    assert [Client().get(address).status_code for address in addresses] == [200] * 4
    assert device.delete(f"{PHOTOS}{photo.pk}/").status_code == 204
    assert [Client().get(address).status_code for address in addresses] == [404] * 4
    assert not file.exists()
    assert SimilarityQuery.objects.get() == other
    assert_refused(device.delete(f"{PHOTOS}{photo.pk}/"), 404, "not_found")


def test_the_photo_of_another_user_cannot_be_deleted(device: APIClient) -> None:
    photo = make_upload(make_user())
    assert_refused(device.delete(f"{PHOTOS}{photo.pk}/"), 404, "not_found")
    assert Path(photo.file.path).exists()
