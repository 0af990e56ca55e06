"""Endpoints of signed-in devices."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.sessions.models import Session
from django.db import OperationalError, connection
from django.test import Client
from django.utils import timezone
from knox.models import AuthToken
from pytest_django import DjangoAssertNumQueries
from rest_framework.test import APIClient

from catalog.models import Device, User
from catalog.services.accounts.devices import TOUCH_INTERVAL, device_id, device_sign_in
from tests.helpers.api import assert_refused, signed_in_client
from tests.helpers.factories import make_user

pytestmark = pytest.mark.django_db

DEVICES = "/api/v1/devices/"


@pytest.fixture
def phone(me: User) -> APIClient:
    return device_named(me, "phone")


def device_named(user: User, name: str) -> APIClient:
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Token {device_sign_in(user=user, name=name)[1]}")
    return client


def listed(client: APIClient) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = client.get(DEVICES).json()["results"]
    return rows


def test_signing_in_sets_the_device_name(me: User) -> None:
    body = {"username": "me", "password": "long enough 1", "device": "my phone"}
    token = APIClient().post("/api/v1/auth/sign-in/", body).json()["token"]
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Token {token}")
    (row,) = listed(client)
    assert (row["name"], row["scope"], row["current"]) == ("my phone", "user", True)
    assert row["last_seen_at"] is not None
    assert row["expires_at"] > row["created_at"]


def test_only_my_devices_are_listed(me: User, phone: APIClient) -> None:
    device_named(me, "tablet")
    device_named(make_user(), "strange")
    unnamed = signed_in_client(me)
    assert {row["name"] for row in listed(phone)} == {"phone", "tablet", ""}
    assert [row["name"] for row in listed(unnamed) if row["current"]] == [""]


def test_a_device_id_does_not_reveal_the_token(phone: APIClient) -> None:
    token, shown = AuthToken.objects.get(), str(listed(phone))
    assert token.digest not in shown
    assert token.token_key not in shown
    assert listed(phone)[0]["id"] not in token.digest


def test_a_device_can_be_read_and_renamed(phone: APIClient) -> None:
    (row,) = listed(phone)
    address = f"{DEVICES}{row['id']}/"
    assert phone.patch(address, {"name": "old phone"}).json()["name"] == "old phone"
    assert phone.get(address).json() == {**row, "name": "old phone", "last_seen_at": listed(phone)[0]["last_seen_at"]}


def test_an_unnamed_device_can_be_named(me: User) -> None:
    client = signed_in_client(me)
    address = f"{DEVICES}{listed(client)[0]['id']}/"
    assert client.patch(address, {"name": "found"}).status_code == 200
    assert listed(client)[0]["name"] == "found"


@pytest.mark.parametrize(
    "body", [{"name": "x" * 101}, {"name": None}, {"name": 7}, {"name": "x", "scope": "staff"}, [], "x"]
)
def test_an_invalid_change_is_refused(phone: APIClient, body: object) -> None:
    assert_refused(phone.patch(f"{DEVICES}{listed(phone)[0]['id']}/", body), 400, "invalid_input")
    assert listed(phone)[0]["name"] == "phone"


def test_an_empty_change_changes_nothing(phone: APIClient) -> None:
    assert phone.patch(f"{DEVICES}{listed(phone)[0]['id']}/", {}).json()["name"] == "phone"


def test_another_device_can_be_signed_out(me: User, phone: APIClient) -> None:
    lost = device_named(me, "lost")
    (address,) = [f"{DEVICES}{row['id']}/" for row in listed(phone) if row["name"] == "lost"]
    assert phone.delete(address).status_code == 204
    assert lost.get("/api/v1/me/").status_code == 401
    assert phone.get(address).status_code == phone.delete(address).status_code == 404


@pytest.mark.parametrize("method", ["get", "patch", "delete"])
def test_the_device_of_another_user_is_404(phone: APIClient, method: str) -> None:
    theirs = device_sign_in(user=make_user(), name="theirs")[0]
    answer = getattr(phone, method)(f"{DEVICES}{device_id(token=theirs)}/", {"name": "mine"})
    assert_refused(answer, 404, "not_found")
    assert Device.objects.get(token=theirs).name == "theirs"


def test_an_expired_token_is_not_listed_and_is_deleted_at_the_next_sign_in(me: User, phone: APIClient) -> None:
    old = device_sign_in(user=me, name="old")[0]
    AuthToken.objects.filter(pk=old.pk).update(expiry=timezone.now())
    assert [row["name"] for row in listed(phone)] == ["phone"]
    assert phone.get(f"{DEVICES}{device_id(token=old)}/").status_code == 404
    device_sign_in(user=me)
    assert not AuthToken.objects.filter(pk=old.pk).exists()


@pytest.mark.database
def test_signing_out_everywhere_ends_only_my_devices_and_browsers(me: User, phone: APIClient) -> None:
    other, browser, strange, visitor = device_named(me, "other"), Client(), Client(), Client()
    browser.force_login(me)
    strange.force_login(make_user())
    session = visitor.session
    session["visitor"] = "someone"
    session.save()
    assert phone.post("/api/v1/auth/sign-out-everywhere/").status_code == 204
    assert phone.get("/api/v1/me/").status_code == other.get("/api/v1/me/").status_code == 401
    assert browser.get("/api/v1/me/").status_code == 401
    assert strange.get("/api/v1/me/").status_code == 200
    assert Session.objects.count() == 2


def test_last_seen_is_written_at_most_every_few_minutes(
    phone: APIClient, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    with django_assert_num_queries(2):  # the token with user and device; last_seen_at
        phone.get("/api/v1/me/")
    last_seen_at = Device.objects.get().last_seen_at
    assert last_seen_at is not None
    with django_assert_num_queries(1):
        phone.get("/api/v1/me/")
    assert Device.objects.get().last_seen_at == last_seen_at
    Device.objects.update(last_seen_at=timezone.now() - TOUCH_INTERVAL - timedelta(seconds=1))
    with django_assert_num_queries(2):
        phone.get("/api/v1/me/")


@pytest.mark.django_db(transaction=True)
@pytest.mark.database
def test_a_locked_database_does_not_fail_reads(phone: APIClient) -> None:
    def busy(execute: Any, sql: str, *rest: Any) -> Any:
        if sql.startswith("UPDATE"):
            raise OperationalError("database is locked")
        return execute(sql, *rest)

    with connection.execute_wrapper(busy):
        assert phone.get("/api/v1/me/").status_code == 200
    assert Device.objects.get().last_seen_at is None


@pytest.mark.parametrize("count", [1, 8])
def test_devices_take_a_fixed_number_of_sql_queries(
    me: User, phone: APIClient, count: int, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for _ in range(count - 1):
        device_named(me, "more")
    (first, *_) = listed(phone)
    with django_assert_num_queries(2):  # the token; the devices
        assert len(listed(phone)) == count
    with django_assert_num_queries(2):
        phone.get(f"{DEVICES}{first['id']}/")
    with django_assert_num_queries(6):  # also in a savepoint: lock and update the device
        phone.patch(f"{DEVICES}{first['id']}/", {"name": "x"})
