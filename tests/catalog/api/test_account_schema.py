"""Responses about accounts, devices and favourites match the OpenAPI schema."""

from typing import Any

import pytest
from pytest_django import Settings
from rest_framework.test import APIClient

from catalog.models import User
from catalog.services.accounts.devices import device_sign_in
from catalog.services.accounts.passwords import password_reset_code
from tests.helpers.api import answered_query
from tests.helpers.api_schema import assert_matches_schema
from tests.helpers.factories import make_item, make_item_photo, make_user

pytestmark = pytest.mark.django_db

V1 = "/api/v1/"
PASSWORD = "long enough 1"


@pytest.fixture
def phone(me: User) -> APIClient:
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Token {device_sign_in(user=me, name='phone')[1]}")
    return client


def test_account_responses_match_the_schema(
    schema: dict[str, Any], phone: APIClient, me: User, settings: Settings
) -> None:
    for body in ({"first_name": "Maria"}, {"email": "x"}, {"email": "new@example.org"}):
        assert_matches_schema(schema, f"{V1}me/", "patch", phone.patch(f"{V1}me/", body))
    make_user("anna", email="anna@example.org")
    assert_matches_schema(
        schema, f"{V1}me/", "patch", phone.patch(f"{V1}me/", {"email": "anna@example.org", "password": PASSWORD})
    )
    sign_up = {"username": "new", "email": "new@example.org", "password": "a blue raincoat"}
    for is_open in (False, True, True):
        settings.SIGN_UP = is_open
        assert_matches_schema(schema, f"{V1}auth/sign-up/", "post", APIClient().post(f"{V1}auth/sign-up/", sign_up))
    staff = {"username": "me", "password": PASSWORD, "scope": "staff"}
    assert_matches_schema(schema, f"{V1}auth/sign-in/", "post", APIClient().post(f"{V1}auth/sign-in/", staff))
    for _ in range(10):
        refused = APIClient().post(f"{V1}auth/sign-in/", {"username": "anna", "password": "wrong"})
        assert_matches_schema(schema, f"{V1}auth/sign-in/", "post", refused)
    answered_query(me)
    for password in ("wrong", PASSWORD):
        assert_matches_schema(schema, f"{V1}me/", "delete", phone.delete(f"{V1}me/", {"password": password}))


def test_password_responses_match_the_schema(schema: dict[str, Any], phone: APIClient, me: User) -> None:
    assert_matches_schema(
        schema, f"{V1}auth/password/", "post", phone.post(f"{V1}auth/password/", {"old_password": "x"})
    )
    change = {"old_password": "wrong", "password": "a blue raincoat"}
    assert_matches_schema(schema, f"{V1}auth/password/", "post", phone.post(f"{V1}auth/password/", change))
    uid, _, token = password_reset_code(user=me).partition("-")
    confirm = f"{V1}auth/password-reset/confirm/"
    for given in (token + "x", token):
        code = {"uid": uid, "token": given, "password": "password"}
        assert_matches_schema(schema, confirm, "post", APIClient().post(confirm, code))


def test_device_responses_match_the_schema(schema: dict[str, Any], phone: APIClient) -> None:
    listed = phone.get(f"{V1}devices/")
    assert_matches_schema(schema, f"{V1}devices/", "get", listed)
    one = f"{V1}devices/{listed.json()['results'][0]['id']}/"
    assert_matches_schema(schema, f"{V1}devices/{{id}}/", "get", phone.get(one))
    assert_matches_schema(schema, f"{V1}devices/{{id}}/", "patch", phone.patch(one, {"name": "other"}))
    assert_matches_schema(schema, f"{V1}devices/{{id}}/", "patch", phone.patch(one, {"name": None}))
    assert_matches_schema(schema, f"{V1}devices/{{id}}/", "delete", phone.delete(f"{V1}devices/none/"))


def test_favourite_responses_match_the_schema(schema: dict[str, Any], phone: APIClient) -> None:
    one = f"{V1}favourites/{{item_id}}/"
    for item in (make_item(), make_item_photo().item):
        for _ in range(2):
            assert_matches_schema(schema, one, "put", phone.put(f"{V1}favourites/{item.pk}/"))
    assert_matches_schema(schema, one, "put", phone.put(f"{V1}favourites/0/"))
    assert_matches_schema(schema, f"{V1}favourites/", "get", phone.get(f"{V1}favourites/"))


def test_the_schema_describes_delete_bodies_and_the_archive(schema: dict[str, Any]) -> None:
    body = schema["paths"][f"{V1}me/"]["delete"]["requestBody"]
    assert body["required"]
    assert body["content"]["application/json"]["schema"]["$ref"] == "#/components/schemas/MeDeleteRequest"
    assert "requestBody" not in schema["paths"][f"{V1}devices/{{id}}/"]["delete"]
    assert set(schema["paths"][f"{V1}me/export/"]["get"]["responses"]["200"]["content"]) == {"application/zip"}
