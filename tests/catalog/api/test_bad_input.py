"""Invalid queries are refused with status, code and sentence, and store nothing."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from PIL import Image
from pytest_django import Settings
from rest_framework.test import APIClient

from catalog.models import SimilarityQuery, UploadedPhoto, User
from tests.helpers.api import QUERIES, assert_refused, in_base64, multipart
from tests.helpers.factories import jpeg, make_upload

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def nothing_is_stored(db: None, media: Path, request: pytest.FixtureRequest) -> Any:
    yield
    assert not SimilarityQuery.objects.exists()
    if "keeps_photo" not in request.fixturenames:
        assert not UploadedPhoto.objects.exists()
        assert [path for path in media.rglob("*") if path.is_file()] == []


@pytest.fixture
def keeps_photo(me: User) -> UploadedPhoto:
    return make_upload(me)


@pytest.mark.parametrize(
    ("k", "code"),
    [
        (0, "min_value"),
        (-1, "min_value"),
        (10**9, "max_value"),
        ("abc", "invalid"),
        (1.5, "invalid"),
        (None, "null"),
        (True, "invalid"),
        ([3], "invalid"),
        ({}, "invalid"),
        (10**30, "max_value"),
        ("9" * 2000, "max_string_length"),
        (101, "max_value"),
    ],
)
def test_an_invalid_k_is_refused(device: APIClient, k: Any, code: str) -> None:
    assert_refused(device.post(QUERIES, {"photo": in_base64(jpeg()), "k": k}), 400, "invalid_input", "k", code)


@pytest.mark.parametrize("k", ["0", "-1", "1000000000", "abc", "1.5", "\0", "٣x"])
def test_an_invalid_k_in_a_form_is_refused(device: APIClient, k: str) -> None:
    assert_refused(device.post(QUERIES, **multipart(k=k)), 400, "invalid_input", "k")


@pytest.mark.parametrize(
    ("filters", "field"),
    [
        ("no json", "filters"),
        ("[1]", "filters"),
        ('{"shape": "A"}', "filters.shape"),
        ('{"min_price": -1}', "filters.min_price"),
        ('{"min_price": "NaN"}', "filters.min_price"),
        ('{"min_price": NaN}', "filters.min_price"),
        ("[" * 100_000, "filters"),
        ('{"min_price": 9, "max_price": 3}', "filters.min_price"),
        ('{"category": ""}', "filters.category"),
        ('{"category": null}', "filters.category"),
        ('{"brand": "\\u0000"}', "filters.brand"),
        ('{"brand": "\\ud800"}', "filters.brand"),
        ('{"brand": ["a"]}', "filters.brand"),
        ('{"max_price": 1e99}', "filters.max_price"),
    ],
)
def test_invalid_filters_are_refused(device: APIClient, filters: str, field: str) -> None:
    assert_refused(device.post(QUERIES, **multipart(filters=filters)), 400, "invalid_input", field)


@pytest.mark.parametrize("diversity", [-0.1, 1.1, "nan", "inf", "much", None, True])
def test_an_invalid_diversity_is_refused(device: APIClient, diversity: Any) -> None:
    body = {"photo": in_base64(jpeg()), "diversity": diversity}
    assert_refused(device.post(QUERIES, body), 400, "invalid_input", "diversity")


@pytest.mark.parametrize(
    ("body", "field", "code"),
    [
        ({}, "photo", "required"),
        ({"photo": None}, "photo", "null"),
        ({"photo": "not base64!"}, "photo", "not_base64"),
        ({"photo": "AAA"}, "photo", "not_base64"),
        ({"photo": 5}, "photo", "invalid"),
        ({"photo": ["QUJD"]}, "photo", "invalid"),
        ({"photo_id": "abc"}, "photo_id", "invalid"),
        ({"photo_id": 7}, "photo_id", "unknown_photo"),
        ({"photo_id": "00000000-0000-4000-8000-000000000000"}, "photo_id", "unknown_photo"),
        ({"pictures": "x"}, "pictures", "unknown_field"),
        ({"photos": "x"}, "photos", "invalid"),
        ({"photos": {}}, "photos", "invalid"),
        ({"photos": []}, "photos", "number"),
        ({"photos": ["QUJD"] * 6}, "photos", "number"),
        ({"photos": ["QUJD", 5]}, "photos.1", "invalid"),
        ({"photos": ["QUJD", "?"]}, "photos.1", "not_base64"),
        ({"photos": [None]}, "photos.0", "invalid"),
        ({"photos": ["00000000-0000-4000-8000-000000000000"]}, "photos.0", "unknown_photo"),
        ({"photo_url": 5}, "photo_url", "url_invalid"),
        ({"photo_url": ""}, "photo_url", "blank"),
        ({"photo_url": "file:///etc/passwd"}, "photo_url", "url_invalid"),
        ({"photo_url": "https://a:b@shop.example/1.jpg"}, "photo_url", "url_forbidden"),
        ({"photo_url": "https://shop.example/" + "a" * 2000}, "photo_url", "max_length"),
        ({"photo_url": "https://shop.example/\0"}, "photo_url", "null_characters_not_allowed"),
        ({"photo_url": ["https://shop.example/1.jpg"]}, "photo_url", "invalid"),
        ({"item_id": 1}, "item_id", "unknown_item"),
        ({"item_id": 0}, "item_id", "min_value"),
        ({"item_id": 10**30}, "item_id", "max_value"),
        ({"item_id": "one"}, "item_id", "invalid"),
        ({"item_id": None}, "item_id", "null"),
    ],
)
def test_a_body_without_a_valid_source_is_refused(device: APIClient, body: Any, field: str, code: str) -> None:
    assert_refused(device.post(QUERIES, body), 400, "invalid_input", field, code)


def test_two_sources_are_refused(device: APIClient, keeps_photo: UploadedPhoto) -> None:
    body = {"photo": in_base64(jpeg()), "photo_id": str(keeps_photo.pk)}
    assert_refused(device.post(QUERIES, body), 400, "invalid_input", "photo", "one_source_only")


@pytest.mark.parametrize(
    ("crop", "field", "code"),
    [
        ("left", "crop", "not_json"),
        ([0, 0, 1, 1], "crop", "invalid"),
        (None, "crop", "null"),
        ({}, "crop.x", "required"),
        ({"x": 0, "y": 0, "width": 1}, "crop.height", "required"),
        ({"x": -0.1, "y": 0, "width": 1, "height": 1}, "crop.x", "min_value"),
        ({"x": 0, "y": 0, "width": 1.1, "height": 1}, "crop.width", "max_value"),
        ({"x": "nan", "y": 0, "width": 1, "height": 1}, "crop.x", "invalid"),
        ({"x": True, "y": 0, "width": 1, "height": 1}, "crop.x", "invalid"),
        ({"x": 0.5, "y": 0, "width": 0.6, "height": 1}, "crop", "crop_outside"),
        ({"x": 0, "y": 0, "width": 1, "height": 1, "angle": 3}, "crop.angle", "unknown_field"),
    ],
)
def test_an_invalid_crop_is_refused(device: APIClient, crop: Any, field: str, code: str) -> None:
    answer = device.post(QUERIES, {"photo": in_base64(jpeg()), "crop": crop})
    assert_refused(answer, 400, "invalid_input", field, code)


@pytest.mark.parametrize("share", [0, 0.19])
def test_a_too_small_crop_is_refused_and_its_photo_is_not_stored(device: APIClient, share: float) -> None:
    crop = {"x": 0, "y": 0, "width": 1, "height": share}
    assert_refused(device.post(QUERIES, {"photo": in_base64(jpeg()), "crop": crop}), 400, "crop_too_small")


def test_a_crop_of_several_photos_is_refused(device: APIClient) -> None:
    whole = {"x": 0, "y": 0, "width": 1, "height": 1}
    photos = [in_base64(jpeg()), in_base64(jpeg("red"))]
    answer = device.post(QUERIES, {"photos": photos, "crop": whole})
    assert_refused(answer, 400, "invalid_input", "crop", "crop_of_one_photo")


def test_one_invalid_photo_among_several_stores_none(device: APIClient) -> None:
    photos = [in_base64(content) for content in (jpeg(), b"this is no picture", jpeg("red"))]
    assert_refused(device.post(QUERIES, {"photos": photos}), 415, "photo_unreadable")


@pytest.mark.parametrize("min_score", [-1.1, 1.1, "nan", "much", None, True, []])
def test_an_invalid_minimum_score_is_refused(device: APIClient, min_score: Any) -> None:
    body = {"photo": in_base64(jpeg()), "min_score": min_score}
    assert_refused(device.post(QUERIES, body), 400, "invalid_input", "min_score")


@pytest.mark.parametrize("in_stock", ["maybe", None, [], {}, 2])
def test_an_invalid_in_stock_filter_is_refused(device: APIClient, in_stock: Any) -> None:
    body = {"photo": in_base64(jpeg()), "filters": {"in_stock": in_stock}}
    assert_refused(device.post(QUERIES, body), 400, "invalid_input", "filters.in_stock")


def test_an_expired_photo_is_unknown(device: APIClient, keeps_photo: UploadedPhoto) -> None:
    UploadedPhoto.objects.update(expires_at="2020-01-01T00:00:00Z")
    answer = device.post(QUERIES, {"photo_id": str(keeps_photo.pk)})
    assert_refused(answer, 400, "invalid_input", "photo_id", "unknown_photo")


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"",
        b"[]",
        b'"x"',
        b"null",
        b"7",
        b"\xff\xfe",
        b'{"photo": "\xff"}',
        b"\0",
        b"[" * 200_000,
        b'{"a":' * 50_000,
        b'{"k": NaN}',
        b'{"k": ' + b"1" * 5000 + b"}",
        b'{"photo": "\\ud800"}',
        b'{"k": 1e999}',
        b"{} {}",
    ],
)
@pytest.mark.parametrize(
    "content_type", ["application/json", "application/json; charset=base64", "application/json; charset=utf-16"]
)
def test_broken_json_is_refused(device: APIClient, body: bytes, content_type: str) -> None:
    answer = device.generic("POST", QUERIES, body, content_type=content_type)
    assert_refused(answer, 400, answer.json()["code"])
    assert answer.json()["code"] in {"parse_error", "invalid_input", "bad_request"}


@pytest.mark.parametrize(
    "content_type",
    [
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "multipart/form-data; boundary=b",
        "multipart/form-data; boundary=b; charset=base64",
    ],
)
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"--b",
        b"--b\r\n\r\n",
        b'--b\r\nContent-Disposition: form-data; name="photo"; filename="a.jpg"\r\n\r\n\xff\xd8',
        b'--b\r\nContent-Disposition: form-data; name="k"\r\nContent-Transfer-Encoding: base64\r\n\r\n!!!\r\n--b--\r\n',
        b'--b\r\nContent-Disposition: form-data; name="\xff\x00"\r\n\r\n1\r\n--b--\r\n',
    ],
)
def test_a_broken_form_is_refused(device: APIClient, content_type: str, body: bytes) -> None:
    answer = device.generic("POST", QUERIES, body, content_type=content_type)
    assert 400 <= answer.status_code < 500, answer.content
    assert_refused(answer, answer.status_code, answer.json()["code"])


def test_a_form_with_too_many_fields_is_refused(device: APIClient) -> None:
    fields = {f"field{n}": "x" for n in range(1500)}
    assert_refused(device.post(QUERIES, **multipart(**fields)), 400, "bad_request")


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "video/mp4", "nonsense"])
def test_an_unsupported_content_type_is_refused(device: APIClient, content_type: str) -> None:
    assert_refused(device.generic("POST", QUERIES, b"k=1", content_type=content_type), 415, "unsupported_media_type")


def picture(mode: str, size: tuple[int, int], form: str) -> bytes:
    target = io.BytesIO()
    Image.new(mode, size).save(target, form)
    return target.getvalue()


PICTURES: dict[str, Callable[[], bytes]] = {
    "empty": lambda: b"",
    "text": lambda: b"this is no picture",
    "html": lambda: b"<!doctype html><script>alert(1)</script>",
    "truncated": lambda: jpeg(size=(400, 400))[:400],
    "bomb": lambda: picture("1", (12_000, 12_000), "PNG"),
    "tiny": lambda: picture("RGB", (1, 1), "PNG"),
}


@pytest.mark.parametrize("name", PICTURES)
@pytest.mark.parametrize("as_form", [True, False])
def test_a_file_that_is_not_a_picture_is_refused(device: APIClient, name: str, as_form: bool) -> None:
    content = PICTURES[name]()
    body = multipart(content) if as_form else {"data": {"photo": in_base64(content)}, "format": "json"}
    answer = device.post(QUERIES, **body)
    assert answer.status_code in (400, 413, 415, 422), answer.content
    assert_refused(answer, answer.status_code, answer.json()["code"])


@pytest.mark.parametrize("name", ["\0.jpg", "../../etc/passwd", "x" * 5000 + ".jpg", "‮gpj.exe"])
def test_the_file_name_is_ignored(device: APIClient, name: str) -> None:
    answer = device.post(QUERIES, {"photo": SimpleUploadedFile(name, b"text", "image/jpeg")}, format="multipart")
    assert 400 <= answer.status_code < 500
    assert_refused(answer, answer.status_code, answer.json()["code"])


def test_a_body_above_the_limit_is_refused_unread(device: APIClient, settings: Settings) -> None:
    settings.MAX_BODY_BYTES = 1000
    for content_type in ("application/json", "multipart/form-data; boundary=b"):
        answer = device.generic("POST", QUERIES, b"x" * 1001, content_type=content_type)
        assert_refused(answer, 413, "body_too_large")


def test_a_body_without_content_length_is_refused(device: APIClient) -> None:
    answer = device.post(QUERIES, {}, CONTENT_LENGTH="", HTTP_TRANSFER_ENCODING="chunked")
    assert_refused(answer, 411, "length_required")


def test_a_photo_above_the_photo_limit_is_refused(device: APIClient, settings: Settings) -> None:
    settings.MAX_UPLOAD_MB = 1
    answer = device.post(QUERIES, **multipart(jpeg() + b"\0" * 2**20))
    assert answer.status_code == 413
    assert_refused(answer, 413, answer.json()["code"])
