"""Signing in and out with tokens."""

import pytest
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from knox.models import AuthToken
from rest_framework.test import APIClient

from catalog.models import User
from tests.helpers.api import signed_in_client
from tests.helpers.factories import make_user

pytestmark = pytest.mark.django_db

SIGN_IN = "/api/v1/auth/sign-in/"


def test_a_username_and_password_return_a_valid_token(client: APIClient, me: User) -> None:
    answer = APIClient().post(SIGN_IN, {"username": "me", "password": "long enough 1"})
    assert answer.status_code == 200
    expires = parse_datetime(answer.json()["expires_at"])
    assert expires is not None
    assert expires > timezone.now()
    device = APIClient()
    device.credentials(HTTP_AUTHORIZATION=f"Token {answer.json()['token']}")
    assert device.get("/api/v1/me/").json()["username"] == "me"


def test_signing_in_sets_last_login(me: User) -> None:
    APIClient().post(SIGN_IN, {"username": "me", "password": "long enough 1"})
    me.refresh_from_db()
    assert me.last_login is not None


@pytest.mark.parametrize("name", ["me", "nobody"])
def test_a_wrong_password_and_an_unknown_username_get_the_same_response(me: User, name: str) -> None:
    answer = APIClient().post(SIGN_IN, {"username": name, "password": "wrong"})
    assert answer.status_code == 401
    assert answer["WWW-Authenticate"] == "Token"
    assert answer.json()["code"] == "wrong_credentials"


def test_an_inactive_account_cannot_sign_in(db: None) -> None:
    make_user("gone", is_active=False)
    answer = APIClient().post(SIGN_IN, {"username": "gone", "password": "long enough 1"})
    assert answer.status_code == 401


@pytest.mark.parametrize(
    "body",
    [{}, {"username": "me"}, {"username": "me\0", "password": "x"}, {"username": ["me"], "password": "x"}, [], "me"],
)
def test_an_invalid_sign_in_is_refused(db: None, body: object) -> None:
    answer = APIClient().post(SIGN_IN, body)
    assert answer.status_code == 400
    assert answer.json()["code"] == "invalid_input"


def test_signing_out_ends_only_this_device(me: User) -> None:
    one, other = signed_in_client(me), signed_in_client(me)
    assert one.post("/api/v1/auth/sign-out/").status_code == 204
    assert one.get("/api/v1/me/").status_code == 401
    assert other.get("/api/v1/me/").status_code == 200


def test_an_expired_token_is_refused(device: APIClient) -> None:
    AuthToken.objects.update(expiry=timezone.now())
    answer = device.get("/api/v1/me/")
    assert answer.status_code == 401
    assert answer["WWW-Authenticate"] == "Token"


@pytest.mark.parametrize(
    "header", ["Token", "Token a b", "Token \xff\xfe", "Token a\0b", "Token " + "x" * 5000, "Token tööken"]
)
def test_an_invalid_token_header_is_refused(db: None, header: str) -> None:
    answer = APIClient().get("/api/v1/me/", HTTP_AUTHORIZATION=header)
    assert answer.status_code == 401
    assert answer["Content-Type"] == "application/problem+json"
