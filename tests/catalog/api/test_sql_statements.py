"""Number of SQL statements of unsafe requests, independent of the amount of data.

The tests of each endpoint assert the number for reads.
"""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from catalog.models import Favourite, User
from catalog.services.accounts.devices import device_sign_in
from catalog.services.accounts.passwords import password_reset_code
from tests.helpers.api import QUERIES, answered_query, in_base64, signed_in_client
from tests.helpers.factories import jpeg, make_item, make_item_photo, make_query, make_upload

pytestmark = [pytest.mark.django_db, pytest.mark.database]

API, PHOTOS = "/api/v1", "/api/v1/photos/"
PHOTO = {"photo": in_base64(jpeg("teal"))}


def photo_delete(device: APIClient, me: User, much: int) -> Any:
    photo = make_upload(me)
    for _ in range(much):
        make_query(photo)
        make_query(make_upload(me)).more_photos.add(photo)
    return lambda: device.delete(f"{PHOTOS}{photo.pk}/")


def query_delete(device: APIClient, me: User, much: int) -> Any:
    query = answered_query(me, items=much)
    return lambda: device.delete(f"{QUERIES}{query.pk}/")


def photo_again(device: APIClient, me: User, much: int) -> Any:
    device.post(PHOTOS, PHOTO)
    return lambda: device.post(PHOTOS, PHOTO)


def query_again(device: APIClient, me: User, much: int) -> Any:
    def ask() -> Any:
        return device.post(QUERIES, PHOTO, HTTP_IDEMPOTENCY_KEY="a")

    ask()
    return ask


def query_of_several(device: APIClient, me: User, much: int) -> Any:
    earlier = make_upload(me)
    photos = [str(earlier.pk), in_base64(jpeg("red")), in_base64(jpeg("green"))]
    return lambda: device.post(QUERIES, {"photos": photos})


def query_of_an_item(device: APIClient, me: User, much: int) -> Any:
    item = make_item()
    for position in range(much):
        make_item_photo(item, position=position)
    return lambda: device.post(QUERIES, {"item_id": item.pk})


def query_with_a_webhook(device: APIClient, me: User, much: int) -> Any:
    item = make_item()
    return lambda: device.post(QUERIES, {"item_id": item.pk, "callback_url": "https://shop.example/webhook"})


def one_item(device: APIClient, me: User, much: int) -> Any:
    item = make_item()
    for position in range(much):
        make_item_photo(item, position=position)
    return lambda: device.get(f"{API}/items/{item.pk}/")


def favourite_keep(device: APIClient, me: User, much: int) -> Any:
    item = make_item()
    for _ in range(much):
        Favourite.objects.create(user=me, item=make_item())
    return lambda: device.put(f"{API}/favourites/{item.pk}/")


def sign_in(device: APIClient, me: User, much: int) -> Any:
    for _ in range(much):
        device_sign_in(user=me)
    wanted = {"username": "me", "password": "long enough 1"}
    return lambda: APIClient().post(f"{API}/auth/sign-in/", wanted)


def sign_out(device: APIClient, me: User, much: int) -> Any:
    for _ in range(much):
        device_sign_in(user=me)
    return lambda: device.post(f"{API}/auth/sign-out/")


def sign_out_everywhere(device: APIClient, me: User, much: int) -> Any:
    for _ in range(much):
        device_sign_in(user=me)
        Client().force_login(me)
    return lambda: device.post(f"{API}/auth/sign-out-everywhere/")


def password_change(device: APIClient, me: User, much: int) -> Any:
    for _ in range(much):
        device_sign_in(user=me)
    wanted = {"old_password": "long enough 1", "password": "a blue raincoat"}
    return lambda: device.post(f"{API}/auth/password/", wanted)


def password_reset(device: APIClient, me: User, much: int) -> Any:
    for _ in range(much):
        device_sign_in(user=me)
        Client().force_login(me)
    uid, _, token = password_reset_code(user=me).partition("-")
    wanted = {"uid": uid, "token": token, "password": "a blue raincoat"}
    return lambda: APIClient().post(f"{API}/auth/password-reset/confirm/", wanted)


# The token or the user, the savepoints, and each table that is read or written once.
CASES: dict[Callable[..., Any], int] = {
    photo_delete: 19,
    photo_again: 5,
    query_again: 4,
    query_of_several: 12,
    query_of_an_item: 8,
    query_with_a_webhook: 13,
    query_delete: 12,
    one_item: 3,
    favourite_keep: 8,
    sign_in: 10,
    sign_out: 4,
    sign_out_everywhere: 6,
    password_change: 16,
    password_reset: 8,
}


def statements(work: Callable[[], Any]) -> list[str]:
    with CaptureQueriesContext(connection) as captured:
        answer = work()
    assert answer.status_code < 300, answer.content
    return [statement["sql"] for statement in captured.captured_queries]


@pytest.mark.parametrize("much", [1, 4])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_a_request_takes_a_fixed_number_of_sql_queries(me: User, case: Callable[..., Any], much: int) -> None:
    taken = statements(case(signed_in_client(me), me, much))
    assert len(taken) == CASES[case], "\n".join(taken)


@pytest.mark.parametrize("much", [1, 4])
def test_a_new_photo_takes_a_fixed_number_of_sql_queries(device: APIClient, me: User, much: int) -> None:
    for _ in range(much):
        make_upload(me)
    assert len(statements(lambda: device.post(PHOTOS, PHOTO))) == 5


def test_a_batch_takes_a_fixed_number_of_sql_queries_per_entry(device: APIClient) -> None:
    entry = {"item_id": make_item().pk}
    one, two, five = (
        len(statements(lambda n=n: device.post(f"{QUERIES}batch/", {"queries": [entry] * n}))) for n in (1, 2, 5)
    )
    assert five - two == 3 * (two - one)
