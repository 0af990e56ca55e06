"""Lockout after too many wrong passwords."""

from datetime import timedelta
from typing import Any

import pytest
from axes.models import AccessAttempt
from django.db.models import F
from django.test import Client
from pytest_django import Settings
from rest_framework.settings import api_settings
from rest_framework.test import APIClient

from catalog.http.rate_limits import UNKNOWN_IP
from catalog.models import User
from tests.helpers.api import assert_refused, signed_in_client

pytestmark = pytest.mark.django_db

SIGN_IN = "/api/v1/auth/sign-in/"
RIGHT = "long enough 1"


def sign_in(password: str = RIGHT, address: str = "192.0.2.1", name: str = "me", **headers: str) -> Any:
    return APIClient().post(SIGN_IN, {"username": name, "password": password}, REMOTE_ADDR=address, **headers)


def guess(times: int, **where: str) -> list[int]:
    return [sign_in(f"guess {number}", **where).status_code for number in range(times)]


@pytest.mark.database
def test_the_tenth_wrong_password_locks_out_for_15_minutes(me: User) -> None:
    assert guess(10) == [401] * 9 + [429]
    refused = sign_in()
    assert_refused(refused, 429, "locked_out")
    assert 890 <= int(refused["Retry-After"]) <= 900
    AccessAttempt.objects.update(attempt_time=F("attempt_time") - timedelta(minutes=15))
    assert sign_in().status_code == 200


def test_attempts_during_a_lockout_do_not_extend_it(me: User) -> None:
    guess(10)
    AccessAttempt.objects.update(attempt_time=F("attempt_time") - timedelta(minutes=14))
    assert guess(3) == [429] * 3
    assert int(sign_in()["Retry-After"]) <= 60


def test_a_lockout_applies_only_to_its_client_ip(me: User) -> None:
    guess(10, address="198.51.100.7")
    assert sign_in(address="198.51.100.7").status_code == 429
    assert sign_in(address="192.0.2.1").status_code == 200


def test_a_lockout_applies_only_to_its_username(me: User) -> None:
    guess(10, name="somebody")
    assert sign_in().status_code == 200


def test_the_right_password_resets_the_count(me: User) -> None:
    assert guess(9) == [401] * 9
    assert sign_in().status_code == 200
    assert guess(9) == [401] * 9


def test_the_user_agent_does_not_affect_the_lockout(me: User) -> None:
    answers = [sign_in("wrong", HTTP_USER_AGENT=f"browser {number}").status_code for number in range(10)]
    assert answers[-1] == 429


def test_an_ipv6_64_network_counts_as_one_client(me: User) -> None:
    assert [sign_in("wrong", address=f"2001:db8:1:2::{number}").status_code for number in range(10)][-1] == 429
    assert sign_in(address="2001:db8:1:2:ffff::1").status_code == 429
    assert sign_in(address="2001:db8:1:3::1").status_code == 200


def test_x_forwarded_for_is_ignored_without_a_proxy(me: User) -> None:
    answers = [sign_in("wrong", HTTP_X_FORWARDED_FOR=f"10.0.0.{number}").status_code for number in range(10)]
    assert answers[-1] == 429


def test_x_forwarded_for_of_a_trusted_proxy_counts(me: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_settings, "NUM_PROXIES", 1)
    for number in range(10):
        sign_in("wrong", HTTP_X_FORWARDED_FOR=f"10.0.0.{number}, 203.0.113.5")
    assert sign_in(HTTP_X_FORWARDED_FOR="10.0.0.1, 203.0.113.5").status_code == 429
    assert sign_in(HTTP_X_FORWARDED_FOR="203.0.113.5, 203.0.113.6").status_code == 200


@pytest.mark.parametrize("claim", ["unknown", "", "a\nb", "1.2.3.4:80", "x" * 5000, "::ffff:203.0.113.5"])
def test_an_invalid_client_ip_does_not_crash(me: User, monkeypatch: pytest.MonkeyPatch, claim: str) -> None:
    monkeypatch.setattr(api_settings, "NUM_PROXIES", 1)
    assert sign_in("wrong", HTTP_X_FORWARDED_FOR=claim).status_code == 401
    assert AccessAttempt.objects.get().ip_address in {UNKNOWN_IP, "203.0.113.5"}


def test_the_admin_shares_the_lockout_and_shows_a_page(me: User) -> None:
    guess(9, address="127.0.0.1")
    browser = Client()
    page = browser.post("/admin/login/", {"username": "me", "password": "wrong"})
    assert page.status_code == 429
    assert "Too many wrong passwords" in page.content.decode()
    assert 0 < int(page["Retry-After"]) <= 900
    assert sign_in(address="127.0.0.1").status_code == 429


@pytest.mark.parametrize("method", ["patch", "delete"])
def test_guessing_the_password_with_a_token_locks_out_too(me: User, method: str) -> None:
    stolen = signed_in_client(me)
    body = {"password": "wrong"} | ({"email": "thief@example.org"} if method == "patch" else {})
    answers = [getattr(stolen, method)("/api/v1/me/", body).status_code for _ in range(10)]
    assert answers == [403] * 9 + [429]
    assert_refused(getattr(stolen, method)("/api/v1/me/", body | {"password": RIGHT}), 429, "locked_out")
    assert User.objects.get().email == ""


def test_an_attempt_does_not_store_the_password(me: User) -> None:
    sign_in("my other secret")
    APIClient().post(SIGN_IN, {"username": "me", "password": "my other secret"}, format="multipart")
    Client().post("/admin/login/?next=/admin/", {"username": "me", "password": "my other secret"})
    stored = str(list(AccessAttempt.objects.values()))
    assert AccessAttempt.objects.exists()
    assert "secret" not in stored


def test_successful_sign_ins_are_not_logged(me: User, settings: Settings) -> None:
    sign_in()
    assert settings.AXES_DISABLE_ACCESS_LOG
    assert not AccessAttempt.objects.exists()
