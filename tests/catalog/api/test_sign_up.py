"""Sign-up."""

import json

import pytest
from knox.models import AuthToken
from pytest_django import DjangoAssertNumQueries, Settings
from rest_framework.test import APIClient

from catalog.models import User
from tests.helpers.api import assert_refused, run_concurrently
from tests.helpers.factories import make_user

pytestmark = [pytest.mark.django_db, pytest.mark.database]

SIGN_UP = "/api/v1/auth/sign-up/"


def sign_up_body(**changes: object) -> dict[str, object]:
    return {"username": "anna", "email": "anna@example.org", "password": "a blue raincoat", **changes}


@pytest.fixture
def is_open(settings: Settings) -> None:
    settings.SIGN_UP = True


@pytest.fixture
def taken(is_open: None) -> User:
    return make_user("anna", email="anna@example.org")


@pytest.mark.usefixtures("is_open")
def test_sign_up_creates_an_account_and_a_token() -> None:
    answer = APIClient().post(SIGN_UP, sign_up_body(device="Anna's phone"))
    assert answer.status_code == 201
    device = APIClient()
    device.credentials(HTTP_AUTHORIZATION=f"Token {answer.json()['token']}")
    me = device.get("/api/v1/me/").json()
    assert (me["username"], me["email"], me["is_staff"]) == ("anna", "anna@example.org", False)
    assert [row["name"] for row in device.get("/api/v1/devices/").json()["results"]] == ["Anna's phone"]


@pytest.mark.parametrize("body", [sign_up_body(), {}, []])
def test_closed_sign_up_is_refused(body: object) -> None:
    assert_refused(APIClient().post(SIGN_UP, body), 403, "sign_up_closed")
    assert not User.objects.exists()


@pytest.mark.parametrize("name", ["anna", "ANNA", "\uff41nna"])
def test_a_taken_username_is_refused_in_every_spelling(taken: User, name: str) -> None:
    assert_refused(APIClient().post(SIGN_UP, sign_up_body(username=name, email="other@example.org")), 409, "name_taken")


@pytest.mark.parametrize("email", ["anna@example.org", "Anna@Example.ORG"])
def test_a_taken_email_address_is_refused_in_every_spelling(taken: User, email: str) -> None:
    assert_refused(APIClient().post(SIGN_UP, sign_up_body(username="other", email=email)), 409, "email_taken")
    assert User.objects.get() == taken


@pytest.mark.usefixtures("is_open")
@pytest.mark.parametrize("password", ["short", "12345678901", "password123", "anna@example", "annaanna"])
def test_a_weak_password_is_refused(password: str) -> None:
    refused = APIClient().post(SIGN_UP, sign_up_body(username="annaanna", password=password))
    assert_refused(refused, 400, "weak_password")
    assert not User.objects.exists()


@pytest.mark.usefixtures("is_open")
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("username", ""),
        ("username", "a b"),
        ("username", "x" * 151),
        ("username", "\ufdfa" * 20),  # 20 characters, 360 after NFKC normalisation
        ("username", "a\0"),
        ("username", "\ud800"),
        ("email", ""),
        ("email", "anna"),
        ("email", "x" * 250 + "@a.org"),
        ("password", ""),
        ("password", "x" * 1001),
        ("device", "x" * 101),
        ("is_staff", True),
    ],
)
def test_an_invalid_sign_up_is_refused(field: str, value: object) -> None:
    body = json.dumps(sign_up_body(**{field: value}))
    refused = APIClient().post(SIGN_UP, body, content_type="application/json")
    assert_refused(refused, 400, "invalid_input", field)
    assert not User.objects.exists()


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("is_open")
@pytest.mark.parametrize("same", ["username", "email"])
def test_concurrent_sign_ups_with_the_same_name_create_one_account(same: str) -> None:

    def sign_up(number: int) -> int:
        body = {"username": f"anna-{number}", "email": f"anna-{number}@example.org"}
        del body[same]
        return APIClient().post(SIGN_UP, sign_up_body(**body)).status_code

    answers = sorted(run_concurrently(6, sign_up))
    assert answers == [201] + [409] * 5
    assert User.objects.count() == AuthToken.objects.count() == 1


@pytest.mark.usefixtures("is_open")
def test_signing_up_takes_a_fixed_number_of_sql_queries(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    # the name; the account in a savepoint; old tokens, token and device in another; last login; failed sign-ins twice
    with django_assert_num_queries(12):
        assert APIClient().post(SIGN_UP, sign_up_body()).status_code == 201
