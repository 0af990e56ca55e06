"""Access rights: one table of every URL, HTTP method and kind of client, checked by requests to all of them.

A route without an entry fails the first test. A method without an entry must be refused to every client.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from typing import Any

import pytest
from django.apps import apps
from django.db import transaction
from django.http import HttpResponseBase
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver
from knox.models import AuthToken
from rest_framework.test import APIClient

from catalog.models import Device, Favourite, Scope, SimilarityQuery, TrainingRun, User
from catalog.services.accounts.devices import device_id, device_sign_in
from catalog.services.accounts.passwords import password_reset_code
from catalog.web.owners import VISITOR
from tests.helpers.all_rows import read_all_rows
from tests.helpers.api import answered_query
from tests.helpers.factories import make_encoder, make_query, make_run, make_upload, make_user

pytestmark = pytest.mark.django_db

ALLOWED = 0  # the request reaches the view: success, or an error about its (empty) input
BAD_INPUT = (400, 409)
SAFE = ("GET", "HEAD", "OPTIONS", "TRACE")
METHODS = (*SAFE, "POST", "PUT", "PATCH", "DELETE")


@dataclass(frozen=True)
class Access:
    """The expected result by kind of client: ALLOWED, or the status of the refusal."""

    my_phone: int = ALLOWED  # a token of scope `user`
    my_browser: int = ALLOWED  # a session
    my_program: int = ALLOWED  # a token of scope `service`
    their_phone: int = ALLOWED  # a `user` token of another user
    staff_phone: int = ALLOWED  # a superuser's token of scope `staff`: no right to another user's objects
    their_browser: int = ALLOWED  # sessions of another user and of a superuser: the latter has rights in the admin only
    their_program: int = ALLOWED
    anonymous: int = ALLOWED  # neither token nor session, or the session of another visitor
    forged: int = 403  # my session without a CSRF token, as a page of another site would send it


OPEN = Access(forged=ALLOWED)  # ignores sessions, so CSRF is no risk
PAGE = Access()
ANY_SCOPE = Access(anonymous=401)
PERSONAL_SCOPES = replace(ANY_SCOPE, my_program=403, their_program=403)
STAFF = replace(PERSONAL_SCOPES, my_phone=403, my_browser=403, their_phone=403, their_browser=403)
MINE = replace(ANY_SCOPE, their_phone=404, staff_phone=404, their_browser=404, their_program=404)
MY_ACCOUNT = replace(MINE, my_program=403, their_program=403)
BY_TOKEN = replace(ANY_SCOPE, my_browser=401, their_browser=401, forged=401)
MY_PICTURE = replace(MINE, anonymous=404)  # 404, so that a refusal does not reveal that the picture exists
MY_PAGE = replace(MY_PICTURE, my_phone=404, my_program=404)
NOTHING = Access(*[404] * len(fields(Access)))

ROUTES: dict[str, dict[str, Access]] = {
    "api/v1/auth/sign-up/": {"POST": OPEN},
    "api/v1/auth/sign-in/": {"POST": OPEN},
    "api/v1/auth/sign-out/": {"POST": BY_TOKEN},
    "api/v1/auth/sign-out-everywhere/": {"POST": PERSONAL_SCOPES},
    "api/v1/auth/password/": {"POST": PERSONAL_SCOPES},
    "api/v1/auth/password-reset/": {"POST": OPEN},
    "api/v1/auth/password-reset/confirm/": {"POST": OPEN},
    "api/v1/me/": {"GET HEAD": PERSONAL_SCOPES, "PATCH": PERSONAL_SCOPES, "DELETE": PERSONAL_SCOPES},
    "api/v1/me/export/": {"GET HEAD": PERSONAL_SCOPES},
    "api/v1/me/webhook-secret/": {"GET HEAD": PERSONAL_SCOPES, "POST": PERSONAL_SCOPES},
    "api/v1/devices/": {"GET HEAD": PERSONAL_SCOPES},
    "api/v1/devices/<slug:id>/": {"GET HEAD": MY_ACCOUNT, "PATCH": MY_ACCOUNT, "DELETE": MY_ACCOUNT},
    "api/v1/favourites/": {"GET HEAD": PERSONAL_SCOPES},
    "api/v1/favourites/<int:item_id>/": {"PUT": PERSONAL_SCOPES, "DELETE": PERSONAL_SCOPES},  # one's own favourites
    "api/v1/queries/": {"GET HEAD": ANY_SCOPE, "POST": ANY_SCOPE},
    "api/v1/queries/batch/": {"POST": ANY_SCOPE},
    "api/v1/queries/<uuid:pk>/": {"GET HEAD": MINE, "DELETE": MINE},
    "api/v1/queries/<uuid:pk>/events/": {"GET": MINE},
    "api/v1/recommendations/<int:pk>/feedback/": {"POST": MY_ACCOUNT},
    "api/v1/photos/": {"GET HEAD": ANY_SCOPE, "POST": ANY_SCOPE},
    "api/v1/photos/<uuid:pk>/": {"GET HEAD": MINE, "DELETE": MINE},
    "api/v1/items/": {"GET HEAD": ANY_SCOPE},
    "api/v1/items/<int:pk>/": {"GET HEAD": ANY_SCOPE},
    "api/v1/training-runs/": {"GET HEAD": STAFF, "POST": STAFF},
    "api/v1/training-runs/<int:pk>/": {"GET HEAD": STAFF},
    "api/v1/training-runs/<int:pk>/cancel/": {"POST": STAFF},
    "api/v1/training-runs/<int:pk>/resume/": {"POST": STAFF},
    "api/v1/schema/": {"GET HEAD": OPEN},
    "api/v1/docs/": {"GET HEAD": OPEN},
    "api/v1/": dict.fromkeys(METHODS, NOTHING),
    "": {"GET HEAD": PAGE, "POST": PAGE},  # JSON of the legacy app: test_legacy.py
    "queries/<uuid:pk>/": {"GET HEAD": MY_PAGE},
    "queries/<uuid:pk>/consent/": {"POST": MY_PAGE},
    "recommendations/<int:pk>/feedback/": {"POST": MY_PAGE},
    "photos/items/<int:pk>/": {"GET HEAD": PAGE},
    "photos/uploads/<uuid:pk>/": {"GET HEAD": MY_PICTURE},
    "photos/uploads/<uuid:pk>/delete/": {"POST": MY_PAGE},
    "account/password/": {"GET HEAD": PAGE, "POST": PAGE},
    "account/password/<str:code>/": {"GET HEAD": PAGE, "POST": PAGE},  # the code itself authorises
    "favicon.ico": {"GET HEAD": PAGE},
    "healthz": {"GET HEAD": PAGE},
}


def addresses(patterns: Any = None, prefix: str = "") -> Iterator[str]:
    """Yield the URL pattern of every route of the site."""
    for pattern in get_resolver().url_patterns if patterns is None else patterns:
        if isinstance(pattern, URLResolver):
            yield from addresses(pattern.url_patterns, prefix + str(pattern.pattern))
        elif isinstance(pattern, URLPattern):
            yield prefix + str(pattern.pattern)


CODES = {
    401: {"not_authenticated"},
    403: {"scope_missing", "permission_denied"},  # permission_denied: missing CSRF token
    404: {"not_found"},
    405: {"method_not_allowed"},
}
ADMIN = sorted(address for address in addresses() if address.startswith("admin/"))


def access_of(route: str, method: str) -> Access | None:
    """Return the table entry; None if the method must be refused to every client."""
    return next((access for methods, access in ROUTES[route].items() if method in methods.split()), None)


@dataclass
class World:
    """Objects of one user, and a training run."""

    me: User
    query: SimilarityQuery
    device: AuthToken
    run: TrainingRun  # has no owner; staff may see it

    def path(self, route: str) -> str:
        """Return the route's path with the ids of my objects."""
        shown = self.query.recommendations.all()[0]
        names: dict[str, object] = {
            "api/v1/queries/": self.query.pk,
            "queries/": self.query.pk,
            "photos/uploads/": self.query.photo_id,
            "api/v1/photos/": self.query.photo_id,
            "api/v1/recommendations/": shown.pk,
            "recommendations/": shown.pk,
            "api/v1/training-runs/": self.run.pk,
            "api/v1/devices/": device_id(token=self.device),
            "api/v1/favourites/": shown.item_id,
            "api/v1/items/": shown.item_id,
            "photos/items/": shown.photo_id,
            "account/password/": password_reset_code(user=self.me),
        }
        return "/" + re.sub(r"^(.*?)<[^>]*>", lambda found: f"{found[1]}{names[found[1]]}", route)

    def private_values(self) -> list[bytes]:
        """Values that identify my objects; responses to other clients must not contain them."""
        return [str(value).encode() for value in (*self.query_values(), device_id(token=self.device), self.me.email)]

    def query_values(self) -> tuple[object, ...]:
        return self.query.pk, self.query.photo_id, *(photo.pk for photo in self.query.more_photos.all())


@pytest.fixture
def world(db: None) -> World:
    me = make_user("me", email="me@private.example")
    query = answered_query(me, items=1, photos=1)
    query.more_photos.add(make_upload(me))
    Favourite.objects.create(user=me, item=query.recommendations.all()[0].item)
    return World(me, query, device_sign_in(user=me, name="mine")[0], make_run())


def with_token(user: User, scope: str) -> APIClient:
    token, secret = AuthToken.objects.create(user=user)
    Device.objects.create(token=token, scope=scope)
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Token {secret}")
    return client


def with_session(user: User, **options: Any) -> APIClient:
    browser = APIClient(**options)
    browser.force_login(user)
    return browser


def other_visitor() -> APIClient:
    """Return a client with the session of a visitor who sent another photo."""
    browser = APIClient()
    make_query(make_upload(visitor="another browser"))
    session = browser.session
    session[VISITOR] = "another browser"
    session.save()
    return browser


@pytest.fixture
def callers(world: World) -> list[tuple[str, APIClient]]:
    """Clients with the name of their field in `Access`."""
    someone, boss = make_user("someone"), make_user("boss", is_staff=True, is_superuser=True)
    return [
        ("anonymous", APIClient()),
        ("anonymous", other_visitor()),
        ("their_phone", with_token(someone, Scope.USER)),
        ("staff_phone", with_token(boss, Scope.STAFF)),
        ("their_program", with_token(boss, Scope.SERVICE)),
        ("their_browser", with_session(someone)),
        ("their_browser", with_session(boss)),
        ("forged", with_session(world.me, enforce_csrf_checks=True)),
        ("my_program", with_token(world.me, Scope.SERVICE)),
        ("my_browser", with_session(world.me)),
        ("my_phone", with_token(world.me, Scope.USER)),
    ]


def my_rows(world: World) -> list[object]:
    me = world.me.pk
    owned = [apps.get_model("catalog", name).objects.filter(owner=me) for name in ("UploadedPhoto", "SimilarityQuery")]
    kept = [Favourite.objects.filter(user=me), AuthToken.objects.filter(user=me), User.objects.filter(pk=me)]
    return [list(rows.order_by("pk").values()) for rows in (*owned, *kept)]


def content_of(answer: HttpResponseBase) -> bytes:
    return b"" if answer.streaming else bytes(answer.content)  # type: ignore[attr-defined]


def test_every_route_has_an_entry_in_the_table() -> None:
    assert set(ROUTES) == set(addresses()) - set(ADMIN)
    assert len(ADMIN) > 50


@pytest.mark.parametrize("route", ROUTES)
def test_a_client_without_the_right_is_refused_and_changes_nothing(
    world: World, callers: list[tuple[str, APIClient]], route: str
) -> None:
    path, before = world.path(route), read_all_rows()
    for method in METHODS:
        access = access_of(route, method)
        for name, client in callers:
            refusal = None if access is None else getattr(access, name)
            if refusal == ALLOWED or (name == "forged" and method in SAFE):
                continue
            answer = client.generic(method, path)
            if method == "OPTIONS" and access is None:  # pages list their allowed methods
                assert answer.status_code in {200, 401, 403, 404, 405}, (name, method, path)
                assert answer.status_code != 200 or not content_of(answer), (name, path)
            else:
                assert answer.status_code in ({refusal} if refusal else {401, 403, 404, 405}), (name, method, path)
                assert (
                    not path.startswith("/api/")
                    or method == "HEAD"
                    or answer.json()["code"] in CODES[answer.status_code]
                )
            assert name.startswith(("my_", "forged")) or not any(
                value in content_of(answer) for value in world.private_values()
            )
    assert read_all_rows() == before


@pytest.mark.parametrize("route", [route for route in ROUTES if ROUTES[route] != ROUTES["api/v1/"]])
def test_allowed_requests_succeed_without_showing_or_changing_my_objects_to_others(
    world: World, callers: list[tuple[str, APIClient]], route: str, settings: Any
) -> None:
    settings.SIGN_UP = True
    path, before = world.path(route), my_rows(world)
    for method in METHODS:
        access = access_of(route, method)
        for name, client in callers:
            if (
                access is None
                or getattr(access, name) != ALLOWED
                or (path == "/api/v1/schema/" and name != "anonymous")
            ):
                continue  # generating the schema is slow; it is equal for all clients
            with transaction.atomic():
                answer = client.generic(method, path)
                assert answer.status_code < 400 or answer.status_code in BAD_INPUT, (name, method, path, answer.content)
                if not name.startswith(("my_", "forged")):
                    assert my_rows(world) == before, (name, method, path)
                    if "code" not in route:
                        assert not any(value in content_of(answer) for value in world.private_values()), (
                            name,
                            method,
                            path,
                        )
                transaction.set_rollback(True)


# --- the admin

# Open to staff without permissions: the index, login and logout, and their own password.
FRAME = {"", "login/", "logout/", "search/", "jsi18n/", "password_change/", "password_change/done/"}


def admin_path(route: str, world: World) -> str:
    plain = re.sub(r"\^?\(\?P<app_label>[^)]*\)/\$", "catalog/", route)
    plain = plain.replace("(?P<url>.*)$", "nowhere")
    return "/" + re.sub(r"<[^>]*>", str(world.me.pk), plain)


def is_login_redirect(answer: Any, path: str) -> bool:
    """Whether the response is the login page, a redirect to it, or the redirect after logout."""
    if path == "/admin/login/":
        return bool(answer.status_code == 200 and b'name="password"' in answer.content)
    if path == "/admin/logout/" and answer.status_code == 302:
        return bool(answer.url == "/admin/")
    return bool(answer.status_code == 302 and answer.url.startswith("/admin/login/?"))


@pytest.mark.parametrize("client_of", ["anonymous", "phone", "staff phone", "program", "browser"])
def test_clients_without_a_staff_session_are_sent_to_the_login_page(world: World, client_of: str) -> None:
    boss = make_user("boss", is_staff=True, is_superuser=True)
    makers: dict[str, Callable[[], Client]] = {
        "anonymous": Client,
        "phone": lambda: with_token(world.me, Scope.USER),
        "staff phone": lambda: with_token(boss, Scope.STAFF),  # a token opens the API, never the admin
        "program": lambda: with_token(boss, Scope.SERVICE),
        "browser": lambda: with_session(world.me),
    }
    client, before = makers[client_of](), my_rows(world)
    for route in ADMIN:
        path = admin_path(route, world)
        for method in ("GET", "POST"):
            answer = client.generic(method, path)
            assert is_login_redirect(answer, path), (method, path, answer.status_code)
    assert my_rows(world) == before


def test_staff_without_permissions_see_no_admin_page(world: World) -> None:
    clerk, before = with_session(make_user("clerk", is_staff=True)), my_rows(world)
    make_encoder()
    for route in ADMIN:
        path = admin_path(route, world)
        for method in ("GET", "POST"):
            if path.removeprefix("/admin/") not in FRAME:
                answer = clerk.generic(method, path)
                assert answer.status_code in {302, 403, 404, 405}, (method, path, answer.status_code)
                assert answer.status_code != 302 or not answer.content  # a redirect without content
                assert not any(value in answer.content for value in world.private_values())
    assert my_rows(world) == before


# --- ids in bodies and lists, which the table does not cover


def test_a_query_about_another_users_photo_is_refused(world: World, callers: list[tuple[str, APIClient]]) -> None:
    for name, client in callers:
        if name.startswith("their_"):
            answer = client.post("/api/v1/queries/", {"photo_id": str(world.query.photo_id)})
            assert answer.status_code == 400
            assert answer.json()["errors"][0]["code"] == "unknown_photo"


def test_a_visitor_reaches_only_the_objects_of_the_same_session(client: Client) -> None:
    session = client.session
    session[VISITOR] = "this browser"
    session.save()
    mine, other = make_query(make_upload(visitor="this browser")), make_query(make_upload(visitor="another"))
    for query, status in ((mine, 200), (other, 404)):
        assert client.get(f"/queries/{query.pk}/").status_code == status
        assert client.get(f"/photos/uploads/{query.photo_id}/").status_code == status


def test_the_list_of_queries_contains_only_my_queries(world: World, callers: list[tuple[str, APIClient]]) -> None:
    other_visitor()
    my_phone = dict(callers)["my_phone"]
    assert [query["id"] for query in my_phone.get("/api/v1/queries/").json()["results"]] == [str(world.query.pk)]
