"""Endpoints of favourite items."""

from typing import Any

import pytest
from pytest_django import DjangoAssertNumQueries
from rest_framework.test import APIClient

from catalog.models import CatalogItem, Favourite, User
from tests.helpers.api import assert_refused
from tests.helpers.factories import make_item, make_item_photo, make_user

pytestmark = [pytest.mark.django_db, pytest.mark.database]

FAVOURITES = "/api/v1/favourites/"


def address(item: CatalogItem) -> str:
    return f"{FAVOURITES}{item.pk}/"


def listed(device: APIClient, query: str = "") -> list[Any]:
    return [row["item"]["id"] for row in device.get(f"{FAVOURITES}{query}").json()["results"]]


def test_adding_a_favourite_is_idempotent(device: APIClient) -> None:
    item = make_item_photo().item
    first, again = device.put(address(item)), device.put(address(item))
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json()
    shown = device.get(f"/api/v1/items/?search={item.external_id}").json()["results"][0]
    assert device.get(FAVOURITES).json()["results"] == [first.json()]
    assert first.json()["item"] == shown


def test_removing_a_favourite_is_idempotent(device: APIClient, me: User) -> None:
    item, other = make_item(), make_item()
    device.put(address(item))
    device.put(address(other))
    assert [device.delete(address(item)).status_code for _ in range(2)] == [204, 204]
    assert listed(device) == [other.pk]


def test_favourites_are_paged_newest_first_without_gaps(device: APIClient) -> None:
    items = [make_item() for _ in range(5)]
    for item in items:
        device.put(address(item))
    page = device.get(f"{FAVOURITES}?page_size=3").json()
    rest = device.get(page["next"]).json()
    ids = [favourite["item"]["id"] for favourite in page["results"] + rest["results"]]
    assert ids == [item.pk for item in reversed(items)]
    assert rest["next"] is None


def test_favourites_of_other_users_are_not_visible(device: APIClient) -> None:
    theirs = Favourite.objects.create(user=make_user(), item=make_item())
    assert listed(device) == []
    assert device.delete(address(theirs.item)).status_code == 204
    assert Favourite.objects.get() == theirs


def test_a_hidden_favourite_is_not_listed_until_it_is_shown_again(device: APIClient) -> None:
    item = make_item()
    device.put(address(item))
    CatalogItem.objects.update(is_active=False)
    assert listed(device) == []
    assert_refused(device.put(address(item)), 404, "not_found")
    CatalogItem.objects.update(is_active=True)
    assert listed(device) == [item.pk]


@pytest.mark.parametrize("number", ["0", "99999999", "9" * 19, "9" * 30, "9" * 4000])
def test_an_unknown_item_cannot_become_a_favourite(device: APIClient, number: str) -> None:
    assert_refused(device.put(f"{FAVOURITES}{number}/"), 404, "not_found")
    assert device.delete(f"{FAVOURITES}{number}/").status_code == 204


@pytest.mark.parametrize("count", [1, 9])
def test_favourites_take_a_fixed_number_of_sql_queries(
    device: APIClient, me: User, count: int, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for _ in range(count):
        Favourite.objects.create(user=me, item=make_item_photo().item)
    with django_assert_num_queries(3):  # the token; the favourites with their items, the photos of these
        assert len(listed(device)) == count
    item = make_item()
    with django_assert_num_queries(8):  # the token, the item; lookup, insert in a savepoint; read with its photos
        device.put(address(item))
    with django_assert_num_queries(2):  # the token; the favourite
        device.delete(address(item))
