"""Webhooks of queries and their signing secret."""

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
CALLBACK = "https://shop.example/webhook"


def test_a_query_has_its_webhook(device: APIClient, me: User) -> None:
    answer = device.post(QUERIES, {"photo": in_base64(jpeg()), "callback_url": CALLBACK})
    assert answer.status_code == 202
    expected = {"url": CALLBACK, "state": "waiting", "attempts": 0, "delivered_at": None, "error": ""}
    assert answer.json()["webhook"] == expected
    assert device.get(answer["Location"]).json()["webhook"] == expected
    assert device.get(QUERIES).json()["results"][0]["webhook"] == expected
    assert WebhookDelivery.objects.get().query == me.queries.get()


def test_a_query_without_callback_url_has_no_webhook(device: APIClient) -> None:
    assert device.post(QUERIES, **multipart()).json()["webhook"] is None
    assert not WebhookDelivery.objects.exists()
    assert not WebhookSecret.objects.exists()


def test_form_raw_photo_and_batch_entry_accept_a_callback_url(device: APIClient) -> None:
    device.post(QUERIES, **multipart(callback_url=f"{CALLBACK}/1"))
    device.generic("POST", QUERIES, jpeg("red"), "image/jpeg", QUERY_STRING=f"callback_url={CALLBACK}/2")
    item = {"item_id": make_item().pk}
    batch = device.post(f"{QUERIES}batch/", {"queries": [item, {**item, "callback_url": f"{CALLBACK}/3"}]})
    assert [one["query"]["webhook"] is None for one in batch.json()["results"]] == [True, False]
    assert list(WebhookDelivery.objects.order_by("url").values_list("url", flat=True)) == [
        f"{CALLBACK}/{number}" for number in (1, 2, 3)
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
        ([CALLBACK], "invalid"),
    ],
)
def test_an_invalid_callback_url_is_refused_and_stores_nothing(device: APIClient, url: Any, code: str) -> None:
    answer = device.post(QUERIES, {"photo": in_base64(jpeg()), "callback_url": url})
    assert_refused(answer, 400, "invalid_input", "callback_url", code)
    assert not SimilarityQuery.objects.exists()


def test_a_retry_creates_one_webhook_and_another_callback_url_is_refused(device: APIClient) -> None:
    def post(**more: str) -> Any:
        return device.post(QUERIES, {"photo": in_base64(jpeg()), **more}, HTTP_IDEMPOTENCY_KEY="a")

    assert post(callback_url=CALLBACK).json()["id"] == post(callback_url=CALLBACK).json()["id"]
    assert WebhookDelivery.objects.count() == 1
    for other in ({}, {"callback_url": f"{CALLBACK}/elsewhere"}):
        assert_refused(post(**other), 422, "idempotency_key_reused")


def test_the_webhook_error_follows_accept_language(device: APIClient, me: User) -> None:
    query = make_query(make_upload(me))
    webhook_create(query=query, url=CALLBACK)
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
    device.post(QUERIES, {"item_id": make_item().pk, "callback_url": CALLBACK})
    assert device.get(SECRET).json() == first.json()
    renewed = device.post(SECRET)
    assert renewed.status_code == 200
    assert renewed.json() != first.json()
    assert device.get(SECRET).json() == renewed.json() == {"secret": WebhookSecret.objects.get(user=me).secret}


def test_each_user_has_a_secret_of_their_own(device: APIClient) -> None:
    assert device.get(SECRET).json() != signed_in_client(make_user()).get(SECRET).json()


def test_a_secret_can_be_renewed_before_it_exists(device: APIClient) -> None:
    assert device.post(SECRET).json() == device.get(SECRET).json()


def test_a_query_does_not_reveal_the_secret(device: APIClient) -> None:
    answer = device.post(QUERIES, {"item_id": make_item().pk, "callback_url": CALLBACK})
    secret = device.get(SECRET).json()["secret"]
    assert secret not in device.get(answer["Location"]).content.decode()


def test_the_admin_shows_the_delivery_but_not_the_secret(client: Client, me: User) -> None:
    query = answered_query(me)
    webhook_create(query=query, url=CALLBACK)
    client.force_login(make_user("boss", is_staff=True, is_superuser=True))
    page = client.get(f"/admin/catalog/similarityquery/{query.pk}/change/")
    assert CALLBACK in page.content.decode()
    assert me.webhook_secret.secret not in page.content.decode()


def test_the_secret_takes_a_fixed_number_of_sql_queries(
    device: APIClient, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    device.get(SECRET)
    with django_assert_num_queries(2):  # the token; the secret
        device.get(SECRET)
    with django_assert_num_queries(5):  # the token; in a savepoint the secret, locked and changed
        device.post(SECRET)
