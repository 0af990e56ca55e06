"""What caches may do with answers, and answers that are not sent twice."""

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


def test_what_did_not_change_is_not_sent_again(device: APIClient) -> None:
    make_item()
    first = device.get(ITEMS)
    again = device.get(ITEMS, headers={"If-None-Match": first["ETag"]})
    assert again.status_code == 304
    assert again.content == b""
    assert again["ETag"] == first["ETag"]
    assert again["Cache-Control"] == "private, no-cache"


def test_what_changed_is_sent(device: APIClient) -> None:
    item = make_item(name="Blue shirt")
    first = device.get(f"{ITEMS}{item.pk}/")
    item.name = "Red shirt"
    item.save()
    again = device.get(f"{ITEMS}{item.pk}/", headers={"If-None-Match": first["ETag"]})
    assert again.status_code == 200
    assert again.json()["name"] == "Red shirt"
    assert again["ETag"] != first["ETag"]


def test_a_query_that_is_done_is_sent_once(device: APIClient, me: User) -> None:
    path = f"/api/v1/queries/{answered_query(me).pk}/"
    tag = device.get(path)["ETag"]
    assert device.get(path, headers={"If-None-Match": tag}).status_code == 304


def test_an_etag_opens_nothing_to_others(device: APIClient, me: User) -> None:
    path = f"/api/v1/queries/{answered_query(me).pk}/"
    tag = device.get(path)["ETag"]
    assert signed_in_client(make_user()).get(path, headers={"If-None-Match": tag}).status_code == 404
    assert APIClient().get(path, headers={"If-None-Match": tag}).status_code == 401


@pytest.mark.parametrize("tag", ["*", '"nonsense"', "nonsense", "", 'W/"', "\xff", '"a", "b"'])
def test_an_odd_if_none_match_does_no_harm(device: APIClient, tag: str) -> None:
    assert device.get(ITEMS, headers={"If-None-Match": tag}).status_code in (200, 304)


def test_answers_are_for_whoever_asked_alone(device: APIClient) -> None:
    answer = device.get(ITEMS)
    assert answer["Cache-Control"] == "private, no-cache"
    assert {"Authorization", "Cookie", "Accept-Language"} <= {name.strip() for name in answer["Vary"].split(",")}


def test_what_came_of_an_action_is_kept_nowhere(me: User) -> None:
    credentials = {"username": "me", "password": "long enough 1"}
    answer = APIClient().post("/api/v1/auth/sign-in/", credentials)
    assert answer.status_code == 200
    assert answer["Cache-Control"] == "no-store"
    assert "ETag" not in answer


def test_pages_with_their_secrets_are_left_alone(client: Client) -> None:
    page = client.get("/")
    assert page.status_code == 200
    assert "ETag" not in page


def answered(response: HttpResponse | StreamingHttpResponse, **headers: str) -> HttpResponse | StreamingHttpResponse:
    request = RequestFactory().get("/api/v1/queries/1/events/", headers=headers)
    request.user = AnonymousUser()
    return ApiResponseHeaders(lambda _: response)(request)


def test_a_stream_is_not_held_up_and_a_view_that_knows_better_is_heard() -> None:
    headers = {"Cache-Control": "no-store"}
    stream = StreamingHttpResponse(iter([b"data: 1\n\n"]), content_type="text/event-stream", headers=headers)
    answer = answered(stream)
    assert answer is stream
    assert answer["Cache-Control"] == "no-store"
    assert "ETag" not in answer
    assert b"".join(stream) == b"data: 1\n\n"
