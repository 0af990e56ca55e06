"""Throttling of endpoints and pages: scopes, users, client IPs, and the 429 response."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import settings as site
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import get_resolver
from pytest_django import Settings
from rest_framework.test import APIClient

from catalog.models import User
from tests.helpers.api import QUERIES, assert_refused, multipart, signed_in_client
from tests.helpers.factories import jpeg, make_item, make_user
from tests.helpers.redis_server import RedisServer

pytestmark = pytest.mark.django_db

SIGN_IN = "/api/v1/auth/sign-in/"


@pytest.fixture(autouse=True)
def low_rates(rate_limit_redis: RedisServer, settings: Settings) -> None:
    settings.RATES = {**site.RATES, "query": "3/min", "sign-in": "3/min", "read": "5/min", "anonymous": "6/min"}


def statuses(answers: Iterator[Any]) -> list[int]:
    return [answer.status_code for answer in answers]


def test_too_many_queries_are_refused_with_retry_after(device: APIClient, me: User) -> None:
    assert statuses(device.post(QUERIES, **multipart()) for _ in range(3)) == [202] * 3
    answer = device.post(QUERIES, **multipart())
    assert_refused(answer, 429, "throttled")
    assert 0 < int(answer["Retry-After"]) <= 60
    assert answer["RateLimit-Policy"] == '"query";q=3;w=60'
    assert answer["RateLimit"] == f'"query";r=0;t={answer["Retry-After"]}'
    assert me.queries.count() == 3


def test_a_user_is_throttled_across_all_devices(me: User) -> None:
    for _ in range(3):
        signed_in_client(me).post(QUERIES, **multipart())
    assert signed_in_client(me).post(QUERIES, **multipart()).status_code == 429
    assert signed_in_client(make_user()).post(QUERIES, **multipart()).status_code == 202


def test_reads_have_their_own_rate(device: APIClient) -> None:
    for _ in range(4):
        device.post(QUERIES, **multipart())
    answers = [device.get(QUERIES) for _ in range(6)]
    assert statuses(iter(answers)) == [200] * 5 + [429]
    assert {answer["RateLimit-Policy"] for answer in answers} == {'"read";q=5;w=60'}


def test_every_response_has_the_remaining_quota(device: APIClient) -> None:
    left = [device.get(QUERIES)["RateLimit"] for _ in range(6)]
    assert [one.partition(";t=")[0] for one in left] == [f'"read";r={number}' for number in (4, 3, 2, 1, 0, 0)]
    assert {int(one.partition(";t=")[2]) for one in left} <= {59, 60}


def test_a_batch_response_has_the_remaining_quota(device: APIClient) -> None:
    item = {"item_id": make_item().pk}
    assert device.post(f"{QUERIES}batch/", {"queries": [item, item]})["RateLimit"] == '"query";r=1;t=60'


@pytest.mark.parametrize("authorization", [{}, {"HTTP_AUTHORIZATION": "Token wrong"}, {"HTTP_AUTHORIZATION": "Token"}])
def test_requests_without_a_valid_token_are_throttled_per_client_ip(
    authorization: dict[str, Any], device: APIClient
) -> None:
    answers = [APIClient().get(QUERIES, **authorization) for _ in range(7)]
    assert statuses(iter(answers)) == [401] * 6 + [429]
    assert [answer["RateLimit"].partition(";t=")[0] for answer in answers[4:]] == [
        f'"anonymous";r={left}' for left in (1, 0, 0)
    ]
    assert_refused(answers[-1], 429, "throttled")
    assert 0 < int(answers[-1]["Retry-After"]) <= 60
    assert APIClient().get(QUERIES, REMOTE_ADDR="192.0.2.7", **authorization).status_code == 401
    assert (
        device.get(QUERIES).status_code == 200
    )  # a user with a token is not affected by anonymous requests of the same client IP


def test_a_wrong_password_counts_once(me: User) -> None:
    answer = APIClient().post(SIGN_IN, {"username": "me", "password": "wrong"})
    assert answer.status_code == 401
    assert answer["RateLimit"].startswith('"sign-in";r=2;')


def test_sign_ins_are_throttled_per_client_ip_ignoring_x_forwarded_for(me: User) -> None:
    wrong = {"username": "me", "password": "wrong"}
    answers = [APIClient().post(SIGN_IN, wrong, HTTP_X_FORWARDED_FOR=f"10.0.0.{n}") for n in range(4)]
    assert [answer.status_code for answer in answers] == [401, 401, 401, 429]
    assert_refused(answers[-1], 429, "throttled")
    assert 0 < int(answers[-1]["Retry-After"]) <= 60
    assert APIClient().post(SIGN_IN, wrong, REMOTE_ADDR="192.0.2.7").status_code == 401


def test_behind_a_proxy_the_client_ip_comes_from_x_forwarded_for(me: User, settings: Settings) -> None:
    settings.REST_FRAMEWORK = {**settings.REST_FRAMEWORK, "NUM_PROXIES": 1}
    wrong = {"username": "me", "password": "wrong"}
    same = [APIClient().post(SIGN_IN, wrong, HTTP_X_FORWARDED_FOR=f"10.0.0.{n}, 192.0.2.1") for n in range(4)]
    assert [answer.status_code for answer in same] == [401, 401, 401, 429]
    assert APIClient().post(SIGN_IN, wrong, HTTP_X_FORWARDED_FOR="192.0.2.2").status_code == 401


def test_anonymous_requests_are_throttled_per_client_ip_in_total(client: Client) -> None:
    assert statuses(client.get("/api/v1/schema/") for _ in range(5)) == [200] * 5
    for _ in range(2):
        answer = APIClient().post(SIGN_IN, {})
    assert_refused(answer, 429, "throttled")


def test_the_upload_page_is_throttled(client: Client, me: User) -> None:
    client.force_login(me)
    assert statuses(client.post("/", {"photo": jpeg_file()}) for _ in range(3)) == [302] * 3
    answer = client.post("/", {"photo": jpeg_file()})
    assert answer.status_code == 429
    assert 0 < int(answer["Retry-After"]) <= 60
    assert "too many" in answer.content.decode().lower()


def test_a_browser_without_cookies_is_throttled_per_client_ip(db: None) -> None:
    answers = statuses(Client().post("/", {"photo": jpeg_file()}) for _ in range(4))
    assert answers == [302] * 3 + [429]


def test_browsers_behind_one_client_ip_are_counted_separately_up_to_the_total(db: None) -> None:
    one, other = Client(), Client()
    assert statuses(browser.post("/", {"photo": jpeg_file()}) for browser in (one, other) * 3) == [302] * 6
    assert statuses(browser.post("/", {"photo": jpeg_file()}) for browser in (one, other)) == [429] * 2


def jpeg_file() -> SimpleUploadedFile:
    return SimpleUploadedFile("shirt.jpg", jpeg(), "image/jpeg")


def test_every_endpoint_has_a_rate() -> None:
    scopes = {getattr(view, "throttle_scope", "write") for view in api_views()}
    assert {"query", "sign-in"} <= scopes
    assert scopes <= set(site.RATES)


def api_views() -> list[Any]:
    patterns = next(p for p in get_resolver().url_patterns if str(p.pattern) == "api/v1/").url_patterns
    return [view for pattern in patterns if (view := getattr(pattern.callback, "view_class", None)) is not None]
