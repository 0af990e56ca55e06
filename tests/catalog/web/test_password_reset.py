"""Password reset pages, which work without scripts."""

import re

import pytest
from django.core import mail
from django.test import Client
from django.urls import reverse
from pytest_django import Settings
from rest_framework.test import APIClient

from catalog.models import User
from catalog.services.accounts.passwords import password_reset_code
from tests.helpers.factories import make_user
from tests.helpers.mail import wait_for_mails
from tests.helpers.redis_server import RedisServer

pytestmark = pytest.mark.django_db

FORGOTTEN = "/account/password/"


@pytest.fixture
def anna() -> User:
    return make_user("anna", email="anna@example.org")


@pytest.fixture
def link(anna: User) -> str:
    return reverse("password-reset", args=[password_reset_code(user=anna)])


def test_a_user_can_reset_a_password_through_the_pages(anna: User) -> None:
    browser = Client(enforce_csrf_checks=True)

    def send(address: str, **fields: str) -> str:
        page = browser.get(address)
        assert page.status_code == 200
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.content.decode())
        assert token is not None
        answer = browser.post(address, {**fields, "csrfmiddlewaretoken": token[1]})
        assert answer.status_code == 200
        return answer.content.decode()

    assert "Check your mail" in send(FORGOTTEN, email="anna@example.org")
    wait_for_mails()
    link = re.search(r"http://testserver(/account/\S+)", str(mail.outbox[0].body))
    assert link is not None
    assert "Your password has been changed" in send(link[1], password="a blue raincoat")
    anna.refresh_from_db()
    assert anna.check_password("a blue raincoat")


def test_the_admin_login_links_to_the_reset_page(client: Client) -> None:
    assert f'href="{FORGOTTEN}"' in client.get("/admin/login/").content.decode()


def test_an_unknown_email_address_sees_the_same_page(client: Client, anna: User) -> None:
    known, unknown = [client.post(FORGOTTEN, {"email": f"{name}@example.org"}) for name in ("anna", "nobody")]
    assert known.content == unknown.content
    wait_for_mails()


def test_opening_the_link_changes_nothing(client: Client, anna: User, link: str) -> None:
    assert [client.get(link).status_code for _ in range(3)] == [200] * 3
    assert client.head(link).status_code == 200
    anna.refresh_from_db()
    assert anna.check_password("long enough 1")


@pytest.mark.parametrize("method", ["get", "post"])
def test_a_used_link_shows_an_error_page(client: Client, link: str, method: str) -> None:
    assert client.post(link, {"password": "a blue raincoat"}).status_code == 200
    page = getattr(client, method)(link, {"password": "a red raincoat"})
    assert page.status_code == 400
    assert "This link was used before, or is too old" in page.content.decode()


@pytest.mark.parametrize("code", ["x", "-", "MQ-", "MQ-x-y", "%00-%00", "%FF", "MQ" * 2000])
def test_an_invalid_link_shows_an_error_page(client: Client, anna: User, code: str) -> None:
    assert client.get(f"{FORGOTTEN}{code}/").status_code == 400


@pytest.mark.parametrize("password", ["", "1aZ!", "anna@example", "x" * 1001])
def test_a_weak_password_is_reported_at_the_field_and_the_link_stays_valid(
    client: Client, link: str, password: str
) -> None:
    page = client.post(link, {"password": password})
    assert page.status_code == 400
    assert re.search(r'role="alert">[^<]{10,}<', page.content.decode())
    assert password == "" or password not in page.content.decode()
    assert client.post(link, {"password": "a blue raincoat"}).status_code == 200


@pytest.mark.parametrize("email", ["", "anna", "a\0@b.org"])
def test_an_invalid_email_address_is_reported_at_the_field(client: Client, email: str) -> None:
    page = client.post(FORGOTTEN, {"email": email})
    assert page.status_code == 400
    assert re.search(r'role="alert">[^<]{10,}<', page.content.decode())


def test_reset_mails_are_throttled_per_client_ip(
    client: Client, rate_limit_redis: RedisServer, settings: Settings
) -> None:
    settings.RATES = settings.RATES | {"reset": "2/hour"}
    pages = [client.post(FORGOTTEN, {"email": "nobody@example.org"}) for _ in range(3)]
    assert [page.status_code for page in pages] == [200, 200, 429]
    assert 0 < int(pages[-1]["Retry-After"]) <= 3600
    by_api = APIClient().post("/api/v1/auth/password-reset/", {"email": "nobody@example.org"})
    assert by_api.status_code == 429


def test_the_page_is_not_cached_and_has_a_strict_policy(client: Client, link: str) -> None:
    page = client.get(link)
    assert "no-store" in page["Cache-Control"]
    assert "script-src 'self'" in page["Content-Security-Policy"]
    assert page["Referrer-Policy"] == "same-origin"
    assert "<style" not in page.content.decode()
