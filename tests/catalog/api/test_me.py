"""Reading and changing the account."""

import pytest
from pytest_django import DjangoAssertNumQueries
from rest_framework.test import APIClient

from catalog.models import User
from tests.helpers.api import assert_refused, signed_in_client
from tests.helpers.factories import make_user

pytestmark = pytest.mark.django_db

ME = "/api/v1/me/"


def test_names_change_without_a_password(device: APIClient, me: User) -> None:
    answer = device.patch(ME, {"first_name": "Maria", "last_name": "Skłodowska"})
    assert answer.status_code == 200
    assert (answer.json()["first_name"], answer.json()["last_name"]) == ("Maria", "Skłodowska")
    assert device.get(ME).json() == answer.json()


@pytest.mark.parametrize("email", ["new@example.org", ""])
def test_a_new_email_address_requires_the_password(device: APIClient, me: User, email: str) -> None:
    User.objects.update(email="old@example.org")
    assert_refused(device.patch(ME, {"email": email}), 403, "wrong_password")
    assert_refused(device.patch(ME, {"email": email, "password": "wrong"}), 403, "wrong_password")
    assert device.get(ME).json()["email"] == "old@example.org"
    assert device.patch(ME, {"email": email, "password": "long enough 1"}).json()["email"] == email


def test_the_same_email_address_requires_no_password(device: APIClient) -> None:
    User.objects.update(email="old@example.org")
    assert device.patch(ME, {"email": "old@example.org", "first_name": "Maria"}).status_code == 200


@pytest.mark.database
def test_the_email_address_of_another_user_is_refused(device: APIClient, me: User) -> None:
    make_user("anna", email="anna@example.org")
    body = {"email": "ANNA@example.org", "password": "long enough 1", "first_name": "Anna"}
    assert_refused(device.patch(ME, body), 409, "email_taken")
    me.refresh_from_db()
    assert (me.email, me.first_name) == ("", "")


@pytest.mark.parametrize(
    "body",
    [
        {"email": "x"},
        {"first_name": "x" * 151},
        {"last_name": None},
        {"first_name": "a\0"},
        {"is_staff": True},
        {"username": "other"},
        [],
        "x",
    ],
)
def test_an_invalid_change_is_refused(device: APIClient, me: User, body: object) -> None:
    assert_refused(device.patch(ME, body), 400, "invalid_input")
    assert not User.objects.get().is_staff


def test_an_empty_change_changes_nothing(device: APIClient) -> None:
    assert device.patch(ME, {}).json() == device.get(ME).json()


def test_a_change_takes_a_fixed_number_of_sql_queries(
    me: User, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    device = signed_in_client(me)
    with django_assert_num_queries(1):  # the token with its user
        device.get(ME)
    with django_assert_num_queries(4):  # also the change in a savepoint
        device.patch(ME, {"first_name": "Maria"})
