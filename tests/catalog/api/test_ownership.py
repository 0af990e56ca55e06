"""What belongs to someone else is not there, on any route."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse
from rest_framework.test import APIClient

from catalog.models import SimilarityQuery, UploadedPhoto, User
from catalog.services.devices import device_id, device_sign_in
from tests.catalog.api.conftest import answered_query, device_of
from tests.factories import make_item_photo, make_query, make_upload, make_user

pytestmark = [pytest.mark.django_db, pytest.mark.database]

# The catalogue, the same for everyone; what I keep of it, by its id there; a code that is good for whoever holds it.
PUBLIC = {"item-photo", "api:item", "api:favourite", "password-reset"}


def routes_with_an_id(patterns: Any = None, prefix: str = "", space: str = "") -> Iterator[tuple[str, str]]:
    """The name and the parameter of every route outside the admin that takes an id."""
    for pattern in get_resolver().url_patterns if patterns is None else patterns:
        if isinstance(pattern, URLResolver):
            if pattern.namespace != "admin":
                inner = f"{pattern.namespace}:" if pattern.namespace else space
                yield from routes_with_an_id(pattern.url_patterns, prefix, inner)
        elif isinstance(pattern, URLPattern) and pattern.pattern.converters:
            yield f"{space}{pattern.name}", next(iter(pattern.pattern.converters))


ROUTES = sorted(set(routes_with_an_id()) - {route for route in routes_with_an_id() if route[0] in PUBLIC})
METHODS = ["get", "post", "put", "patch", "delete"]


@pytest.fixture
def theirs(db: None) -> SimilarityQuery:
    return answered_query(make_user("someone else"))


def ids_for(name: str, query: SimilarityQuery) -> list[object]:
    """What belongs to the query's owner, in the way the route names it."""
    if name == "api:device":
        return [device_id(token=device_sign_in(user=query.owner)[0])] if query.owner else []
    return [query.pk, query.photo_id]


def test_the_walk_finds_the_routes_that_need_it() -> None:
    assert {"api:query", "api:photo", "query", "uploaded-photo", "api:device"} <= {name for name, _ in ROUTES}


@pytest.mark.parametrize(("name", "parameter"), ROUTES)
@pytest.mark.parametrize("method", METHODS)
def test_nothing_of_someone_else_can_be_reached(
    me: User, theirs: SimilarityQuery, name: str, parameter: str, method: str
) -> None:
    staff = make_user("boss", is_staff=True, is_superuser=True)
    browser, visitor, boss = Client(), Client(), Client()
    browser.force_login(me)
    boss.force_login(staff)
    for strange in ids_for(name, theirs):
        url = reverse(name, kwargs={parameter: strange})
        for client in (device_of(me), device_of(staff), browser, boss, visitor, APIClient()):
            assert getattr(client, method)(url).status_code in {401, 404, 405}, (url, client)
    assert SimilarityQuery.objects.filter(pk=theirs.pk).exists()


@pytest.mark.parametrize(("name", "parameter"), ROUTES)
def test_what_is_mine_can_be_reached(me: User, name: str, parameter: str) -> None:
    query = answered_query(me)
    mine = ids_for(name, query)[-1 if name in {"uploaded-photo", "api:photo"} else 0]
    browser = Client()
    browser.force_login(me)
    assert browser.get(reverse(name, kwargs={parameter: mine})).status_code == 200


def test_the_photo_of_someone_else_cannot_be_asked_about(device: APIClient, theirs: SimilarityQuery) -> None:
    answer = device.post("/api/v1/queries/", {"photo_id": str(theirs.photo_id)})
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["code"] == "unknown_photo"


def test_the_list_holds_only_what_is_mine(device: APIClient, me: User, theirs: SimilarityQuery) -> None:
    mine = make_query(make_upload(me))
    make_query(make_upload(visitor="a browser"))
    assert [query["id"] for query in device.get("/api/v1/queries/").json()["results"]] == [str(mine.pk)]


def test_a_visitor_reaches_only_what_the_same_browser_sent(client: Client) -> None:
    session = client.session
    session["visitor"] = "this browser"
    session.save()
    mine, other = make_query(make_upload(visitor="this browser")), make_query(make_upload(visitor="another"))
    for query, status in ((mine, 200), (other, 404)):
        assert client.get(reverse("query", args=[query.pk])).status_code == status
        assert client.get(reverse("uploaded-photo", args=[query.photo_id])).status_code == status


def test_a_browser_that_never_sent_anything_owns_nothing(client: Client) -> None:
    photo = make_upload(make_user())
    UploadedPhoto.objects.filter(pk=photo.pk)
    assert client.get(reverse("uploaded-photo", args=[photo.pk])).status_code == 404
    assert make_item_photo().pk
