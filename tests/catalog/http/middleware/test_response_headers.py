"""Middleware `ApiResponseHeaders`: Cache-Control and ETag."""

import pytest
from django.contrib.auth.models import AnonymousUser
from django.http import HttpResponse, StreamingHttpResponse
from django.test import Client, RequestFactory
from rest_framework.test import APIClient

from catalog.http.middleware import ApiResponseHeaders
from catalog.models import User
from tests.helpers.api import answered_query, signed_in_client
from tests.helpers.factories import make_item, make_user

pytestmark = pytest.mark.django_db

ITEMS = "/api/v1/items/"


def test_an_unchanged_response_is_304(device: APIClient) -> None:
    make_item()
    first = device.get(ITEMS)
    again = device.get(ITEMS, headers={"If-None-Match": first["ETag"]})
    assert again.status_code == 304
    assert again.content == b""
    assert again["ETag"] == first["ETag"]
    assert again["Cache-Control"] == "private, no-cache"


def test_a_changed_response_is_sent(device: APIClient) -> None:
    item = make_item(name="Blue shirt")
    first = device.get(f"{ITEMS}{item.pk}/")
    item.name = "Red shirt"
    item.save()
    again = device.get(f"{ITEMS}{item.pk}/", headers={"If-None-Match": first["ETag"]})
    assert again.status_code == 200
    assert again.json()["name"] == "Red shirt"
    assert again["ETag"] != first["ETag"]


def test_a_finished_query_is_sent_once(device: APIClient, me: User) -> None:
    path = f"/api/v1/queries/{answered_query(me).pk}/"
    tag = device.get(path)["ETag"]
    assert device.get(path, headers={"If-None-Match": tag}).status_code == 304


def test_an_etag_gives_no_access_to_other_users(device: APIClient, me: User) -> None:
    path = f"/api/v1/queries/{answered_query(me).pk}/"
    tag = device.get(path)["ETag"]
    assert signed_in_client(make_user()).get(path, headers={"If-None-Match": tag}).status_code == 404
    assert APIClient().get(path, headers={"If-None-Match": tag}).status_code == 401


@pytest.mark.parametrize("tag", ["*", '"nonsense"', "nonsense", "", 'W/"', "\xff", '"a", "b"'])
def test_an_invalid_if_none_match_is_ignored(device: APIClient, tag: str) -> None:
    assert device.get(ITEMS, headers={"If-None-Match": tag}).status_code in (200, 304)


def test_responses_are_private(device: APIClient) -> None:
    answer = device.get(ITEMS)
    assert answer["Cache-Control"] == "private, no-cache"
    assert {"Authorization", "Cookie", "Accept-Language"} <= {name.strip() for name in answer["Vary"].split(",")}


def test_responses_to_unsafe_requests_are_not_cached(me: User) -> None:
    credentials = {"username": "me", "password": "long enough 1"}
    answer = APIClient().post("/api/v1/auth/sign-in/", credentials)
    assert answer.status_code == 200
    assert answer["Cache-Control"] == "no-store"
    assert "ETag" not in answer


def test_pages_have_no_etag(client: Client) -> None:
    page = client.get("/")
    assert page.status_code == 200
    assert "ETag" not in page


def answered(response: HttpResponse | StreamingHttpResponse, **headers: str) -> HttpResponse | StreamingHttpResponse:
    request = RequestFactory().get("/api/v1/queries/1/events/", headers=headers)
    request.user = AnonymousUser()
    return ApiResponseHeaders(lambda _: response)(request)


def test_a_stream_is_not_buffered_and_keeps_its_own_cache_control() -> None:
    headers = {"Cache-Control": "no-store"}
    stream = StreamingHttpResponse(iter([b"data: 1\n\n"]), content_type="text/event-stream", headers=headers)
    answer = answered(stream)
    assert answer is stream
    assert answer["Cache-Control"] == "no-store"
    assert "ETag" not in answer
    assert b"".join(stream) == b"data: 1\n\n"
