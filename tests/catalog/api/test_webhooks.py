"""Asking to be told of a query's end, and the secret by which to know who tells."""

from typing import Any

import pytest
from django.test import Client
from pytest_django import DjangoAssertNumQueries
from rest_framework.test import APIClient

from catalog.http.problems import FAILURE_SENTENCES
from catalog.models import SimilarityQuery, User, WebhookDelivery, WebhookSecret, WebhookState
from catalog.services.queries.webhooks import webhook_create
from tests.helpers.api import QUERIES, answered_query, assert_refused, in_base64, multipart, signed_in_client
from tests.helpers.factories import jpeg, make_item, make_query, make_upload, make_user

pytestmark = pytest.mark.django_db

SECRET = "/api/v1/me/webhook-secret/"
TOLD = "https://shop.example/told"


def test_a_query_says_where_its_end_is_told(device: APIClient, me: User) -> None:
    answer = device.post(QUERIES, {"photo": in_base64(jpeg()), "callback_url": TOLD})
    assert answer.status_code == 202
    expected = {"url": TOLD, "state": "waiting", "attempts": 0, "delivered_at": None, "error": ""}
    assert answer.json()["webhook"] == expected
    assert device.get(answer["Location"]).json()["webhook"] == expected
    assert device.get(QUERIES).json()["results"][0]["webhook"] == expected
    assert WebhookDelivery.objects.get().query == me.queries.get()


def test_a_query_without_one_has_none(device: APIClient) -> None:
    assert device.post(QUERIES, **multipart()).json()["webhook"] is None
    assert not WebhookDelivery.objects.exists()
    assert not WebhookSecret.objects.exists()


def test_a_form_a_bare_photo_and_each_entry_of_a_batch_may_name_one(device: APIClient) -> None:
    device.post(QUERIES, **multipart(callback_url=f"{TOLD}/1"))
    device.generic("POST", QUERIES, jpeg("red"), "image/jpeg", QUERY_STRING=f"callback_url={TOLD}/2")
    item = {"item_id": make_item().pk}
    batch = device.post(f"{QUERIES}batch/", {"queries": [item, {**item, "callback_url": f"{TOLD}/3"}]})
    assert [one["query"]["webhook"] is None for one in batch.json()["results"]] == [True, False]
    assert list(WebhookDelivery.objects.order_by("url").values_list("url", flat=True)) == [
        f"{TOLD}/{number}" for number in (1, 2, 3)
    ]


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("shop.example", "url_invalid"),
        ("ftp://shop.example/", "url_invalid"),
        ("https://shop.example:8443/", "url_forbidden"),
        ("https://me:secret@shop.example/", "url_forbidden"),
        ("", "blank"),
        ("https://shop.example/" + "x" * 2000, "max_length"),
        (None, "null"),
        ([TOLD], "invalid"),
    ],
)
def test_an_address_that_is_none_is_refused_and_leaves_nothing(device: APIClient, url: Any, code: str) -> None:
    answer = device.post(QUERIES, {"photo": in_base64(jpeg()), "callback_url": url})
    assert_refused(answer, 400, "invalid_input", "callback_url", code)
    assert not SimilarityQuery.objects.exists()


def test_the_same_request_under_its_key_is_told_once_and_elsewhere_is_another_request(device: APIClient) -> None:
    def post(**more: str) -> Any:
        return device.post(QUERIES, {"photo": in_base64(jpeg()), **more}, HTTP_IDEMPOTENCY_KEY="a")

    assert post(callback_url=TOLD).json()["id"] == post(callback_url=TOLD).json()["id"]
    assert WebhookDelivery.objects.count() == 1
    for other in ({}, {"callback_url": f"{TOLD}/elsewhere"}):
        assert_refused(post(**other), 422, "idempotency_key_reused")


def test_why_a_try_was_in_vain_is_told_in_the_readers_language(device: APIClient, me: User) -> None:
    query = make_query(make_upload(me))
    webhook_create(query=query, url=TOLD)
    WebhookDelivery.objects.update(state=WebhookState.GIVEN_UP, attempts=5, error="The server answered 500.")
    address = f"{QUERIES}{query.pk}/"
    assert device.get(address).json()["webhook"]["error"] == "The server answered 500."
    polish = device.get(address, HTTP_ACCEPT_LANGUAGE="pl").json()["webhook"]["error"]
    assert polish not in {"", "The server answered 500.", FAILURE_SENTENCES["webhook_failed"]}


def test_the_secret_stays_until_it_is_renewed(device: APIClient, me: User) -> None:
    first = device.get(SECRET)
    assert first.status_code == 200
    assert first["Cache-Control"] == "no-store"
    assert first.json()["secret"].startswith("whsec_")
    assert device.get(SECRET).json() == first.json()
    device.post(QUERIES, {"item_id": make_item().pk, "callback_url": TOLD})
    assert device.get(SECRET).json() == first.json()
    renewed = device.post(SECRET)
    assert renewed.status_code == 200
    assert renewed.json() != first.json()
    assert device.get(SECRET).json() == renewed.json() == {"secret": WebhookSecret.objects.get(user=me).secret}


def test_each_person_has_a_secret_of_their_own(device: APIClient) -> None:
    assert device.get(SECRET).json() != signed_in_client(make_user()).get(SECRET).json()


def test_a_secret_may_be_renewed_before_there_is_one(device: APIClient) -> None:
    assert device.post(SECRET).json() == device.get(SECRET).json()


def test_no_secret_is_in_a_query(device: APIClient) -> None:
    answer = device.post(QUERIES, {"item_id": make_item().pk, "callback_url": TOLD})
    secret = device.get(SECRET).json()["secret"]
    assert secret not in device.get(answer["Location"]).content.decode()


def test_staff_see_what_became_of_it_but_no_secret(client: Client, me: User) -> None:
    query = answered_query(me)
    webhook_create(query=query, url=TOLD)
    client.force_login(make_user("boss", is_staff=True, is_superuser=True))
    page = client.get(f"/admin/catalog/similarityquery/{query.pk}/change/")
    assert TOLD in page.content.decode()
    assert me.webhook_secret.secret not in page.content.decode()


def test_the_secret_takes_as_many_queries_each_time(
    device: APIClient, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    device.get(SECRET)
    with django_assert_num_queries(2):  # the token; the secret
        device.get(SECRET)
    with django_assert_num_queries(5):  # the token; in a savepoint the secret, locked and changed
        device.post(SECRET)
