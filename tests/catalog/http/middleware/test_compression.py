"""Middleware `Compression`: only JSON above the minimum size is compressed."""

import gzip
import json
from typing import Any

import brotli
import pytest
from django.http import FileResponse, HttpResponse, StreamingHttpResponse
from django.test import Client, RequestFactory
from rest_framework.test import APIClient

from catalog.http.middleware import Compression
from tests.helpers.factories import make_item, make_item_photo

pytestmark = pytest.mark.django_db

ITEMS = "/api/v1/items/"
UNPACK = {"gzip": gzip.decompress, "br": brotli.decompress}


@pytest.fixture
def many(db: None) -> None:
    for _ in range(20):
        make_item()


@pytest.mark.parametrize("coding", ["gzip", "br"])
def test_a_long_list_is_compressed(device: APIClient, many: None, coding: str) -> None:
    plain = device.get(ITEMS)
    packed = device.get(ITEMS, headers={"Accept-Encoding": coding})
    assert packed["Content-Encoding"] == coding
    assert json.loads(UNPACK[coding](packed.content)) == plain.json()
    assert len(packed.content) < len(plain.content) / 3
    assert int(packed["Content-Length"]) == len(packed.content)
    assert "Accept-Encoding" in packed["Vary"].title()


def test_the_preferred_coding_is_used(device: APIClient, many: None) -> None:
    for accepted, coding in (("gzip", "gzip"), ("gzip, deflate, br", "br"), ("br;q=0.5, gzip", "gzip")):
        assert device.get(ITEMS, headers={"Accept-Encoding": accepted})["Content-Encoding"] == coding


@pytest.mark.parametrize(
    "accepted", ["", "identity", "deflate", "gzip;q=0", "nonsense;;;", "*", "gzip;q=abc", "x" * 9999]
)
def test_without_a_supported_coding_the_response_is_not_compressed(
    device: APIClient, many: None, accepted: str
) -> None:
    answer = device.get(ITEMS, headers={"Accept-Encoding": accepted})
    assert "Content-Encoding" not in answer
    assert len(answer.json()["results"]) == 20
    assert "Accept-Encoding" in answer["Vary"].title()  # a shared cache must distinguish the codings


def test_an_etag_is_valid_for_every_coding(device: APIClient, many: None) -> None:
    packed = device.get(ITEMS, headers={"Accept-Encoding": "br"})
    assert packed["ETag"].startswith('W/"')  # weak: equal in content, not in bytes
    for accepted in ("br", "gzip", "identity"):
        headers = {"Accept-Encoding": accepted, "If-None-Match": packed["ETag"]}
        assert device.get(ITEMS, headers=headers).status_code == 304


def test_short_responses_pictures_and_pages_are_not_compressed(device: APIClient, client: Client) -> None:
    photo = make_item_photo()
    for path in ("/api/v1/me/", f"/photos/items/{photo.pk}/", "/"):
        answer = device.get(path, headers={"Accept-Encoding": "br, gzip"})
        assert answer.status_code == 200
        assert "Content-Encoding" not in answer


def packed(response: Any) -> Any:
    request = RequestFactory().get("/api/v1/", headers={"Accept-Encoding": "gzip, br"})
    return Compression(lambda _: response)(request)


def test_an_event_stream_is_not_compressed() -> None:
    long = b"data: " + b"x" * 5000 + b"\n\n"
    stream = packed(StreamingHttpResponse(iter([long]), content_type="text/event-stream"))
    assert "Content-Encoding" not in stream
    assert list(stream) == [long]


def test_a_download_is_not_compressed() -> None:
    assert "Content-Encoding" not in packed(FileResponse(iter([b"P" * 5000]), content_type="application/zip"))
    assert "Content-Encoding" not in packed(HttpResponse(b"P" * 5000, content_type="application/zip"))


def test_the_length_of_a_compressed_response_is_blurred(device: APIClient, many: None) -> None:
    noise = {len(device.get(ITEMS, headers={"Accept-Encoding": "br"})["X-Noise"]) for _ in range(20)}
    assert len(noise) > 3
