"""Redis is unavailable, as in every test that does not start one: nothing fails or waits long."""

import time

import pytest
from django.conf import settings
from django.test import Client
from rest_framework.test import APIClient

from catalog.models import User
from tests.helpers.api import QUERIES, multipart

pytestmark = pytest.mark.django_db


def test_a_photo_is_accepted_at_once(device: APIClient) -> None:
    started = time.perf_counter()
    assert device.post(QUERIES, **multipart(), HTTP_PREFER="wait=5").status_code == 202
    assert time.perf_counter() - started < 3


@pytest.mark.django_db(transaction=True)
def test_a_photo_is_accepted_at_once_when_its_message_is_sent(device: APIClient) -> None:
    started = time.perf_counter()
    assert device.post(QUERIES, **multipart()).status_code == 202
    assert time.perf_counter() - started < 3


def test_signing_in_is_not_throttled(me: User) -> None:
    for _ in range(25):
        answer = APIClient().post("/api/v1/auth/sign-in/", {"username": "me", "password": "long enough 1"})
        assert answer.status_code == 200


def test_the_pages_work(client: Client, me: User) -> None:
    assert client.get("/").status_code == 200
    client.force_login(me)
    assert client.get("/").status_code == 200


def test_the_site_is_healthy_without_redis(client: Client) -> None:
    answer = client.get("/healthz")
    assert answer.status_code == 200
    assert answer.json() == {"status": "ok", "database": "ok", "redis": "away", "version": settings.VERSION}
