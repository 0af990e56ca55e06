"""Token scopes: who may have which, and what each allows. Access to all URLs: tests/catalog/test_rights.py."""

from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.urls import get_resolver
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.test import APIClient, APIRequestFactory
from rest_framework.views import APIView

from catalog.api.permissions import ANY_SCOPE, PERSONAL_SCOPES, STAFF_ONLY, SignUpIsOpen
from catalog.models import Scope, User
from catalog.services.accounts.devices import device_sign_in
from tests.helpers.api import answered_query, assert_refused, client_with, signed_in_client
from tests.helpers.factories import make_user

pytestmark = pytest.mark.django_db

SIGN_IN = "/api/v1/auth/sign-in/"


def may_add_devices(user: User) -> User:
    user.user_permissions.add(Permission.objects.get(codename="add_device"))
    return user


@pytest.fixture
def boss() -> User:
    return may_add_devices(make_user("boss", is_staff=True))


class StaffView(APIView):
    scopes = STAFF_ONLY

    def get(self, request: Request) -> Response:
        return Response("seen")


def staff_answer(user: User, scope: str) -> Any:
    token = device_sign_in(user=user, scope=scope)[1]
    return StaffView.as_view()(APIRequestFactory().get("/", HTTP_AUTHORIZATION=f"Token {token}"))


def views() -> list[type[APIView]]:
    api = next(pattern for pattern in get_resolver().url_patterns if getattr(pattern, "namespace", "") == "api")
    classes = [getattr(pattern.callback, "cls", None) for pattern in api.url_patterns]
    return [view for view in classes if view is not None and view.__module__.startswith("catalog.")]


def test_every_view_declares_its_scopes() -> None:
    assert len(views()) > 10
    open_to_all = (AllowAny, SignUpIsOpen)
    for view in views():
        named = "scopes" in vars(view) and vars(view)["scopes"] in (ANY_SCOPE, PERSONAL_SCOPES, STAFF_ONLY)
        assert named or view.permission_classes[0] in open_to_all, view


@pytest.mark.parametrize(
    ("name", "scope", "status"),
    [
        ("anybody", "user", 200),
        ("anybody", "staff", 403),
        ("anybody", "service", 403),
        ("clerk", "staff", 200),
        ("clerk", "service", 403),
        ("boss", "service", 200),
    ],
)
def test_a_scope_needs_the_right_kind_of_user(boss: User, name: str, scope: str, status: int) -> None:
    make_user("anybody")
    may_add_devices(make_user("former"))
    make_user("clerk", is_staff=True)
    answer = APIClient().post(SIGN_IN, {"username": name, "password": "long enough 1", "scope": scope})
    assert answer.status_code == status
    if status == 200:
        assert answer.json()["scope"] == scope
    else:
        assert_refused(answer, 403, "scope_not_allowed")
        assert not User.objects.get(username=name).auth_token_set.exists()


def test_an_unknown_scope_is_refused(boss: User) -> None:
    body = {"username": "boss", "password": "long enough 1", "scope": "god"}
    assert_refused(APIClient().post(SIGN_IN, body), 400, "invalid_input", "scope", "invalid_choice")


def test_a_service_token_cannot_change_passwords_or_sign_out_other_devices(boss: User) -> None:
    program, phone = client_with(boss, Scope.SERVICE), signed_in_client(boss)
    passwords = {"old_password": "long enough 1", "password": "a blue raincoat"}
    assert_refused(program.post("/api/v1/auth/password/", passwords), 403, "scope_missing")
    assert_refused(program.post("/api/v1/auth/sign-out-everywhere/"), 403, "scope_missing")
    assert phone.get("/api/v1/me/").status_code == 200
    assert program.post("/api/v1/auth/sign-out/").status_code == 204
    assert program.get("/api/v1/items/").status_code == 401


def test_a_service_token_can_create_queries(boss: User) -> None:
    query, program = answered_query(boss), client_with(boss, Scope.SERVICE)
    assert program.post("/api/v1/queries/", {"photo_id": str(query.photo_id)}).status_code == 202


def test_a_staff_token_also_has_the_user_scope(boss: User) -> None:
    assert staff_answer(boss, Scope.STAFF).status_code == 200
    assert client_with(boss, Scope.STAFF).get("/api/v1/me/").status_code == 200


@pytest.mark.parametrize("scope", [Scope.USER, Scope.SERVICE])
def test_other_tokens_of_staff_cannot_use_staff_endpoints(boss: User, scope: str) -> None:
    assert staff_answer(boss, scope).status_code == 403


def test_a_token_without_a_device_has_the_user_scope(boss: User) -> None:
    assert signed_in_client(boss).get("/api/v1/me/").status_code == 200
    request = APIRequestFactory().get("/", HTTP_AUTHORIZATION=signed_in_client(boss)._credentials["HTTP_AUTHORIZATION"])
    assert StaffView.as_view()(request).status_code == 403


def test_a_staff_token_loses_its_scope_when_the_user_is_no_longer_staff(boss: User) -> None:
    token = device_sign_in(user=boss, scope=Scope.STAFF)[1]
    User.objects.update(is_staff=False)
    request = APIRequestFactory().get("/", HTTP_AUTHORIZATION=f"Token {token}")
    assert StaffView.as_view()(request).status_code == 403
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Token {token}")
    assert client.get("/api/v1/me/").status_code == 200


def test_a_session_of_staff_has_the_user_scope(boss: User) -> None:
    browser = APIClient()
    browser.force_login(boss)
    assert browser.get("/api/v1/me/").status_code == 200
    request = APIRequestFactory().get("/")
    request.session, request.user = browser.session, boss
    assert StaffView.as_view()(request).status_code == 403


def test_a_request_without_credentials_is_401() -> None:
    assert StaffView.as_view()(APIRequestFactory().get("/")).status_code == 401
