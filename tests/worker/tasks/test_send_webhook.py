"""send_webhook: the end of a query is posted, signed, to a server on this machine."""

import socket
import ssl
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.urls import reverse
from django.utils import timezone
from pytest_django import Settings
from standardwebhooks import Webhook, WebhookVerificationError

from catalog import tasks
from catalog.errors import ClaimLost
from catalog.models import QueryState, SimilarityQuery, WebhookDelivery, WebhookState
from catalog.models.claims import RESEND_AFTER
from catalog.models.webhooks import MAX_TRIES, RETRY_DELAYS, new_secret
from catalog.outbound import post
from catalog.services.queries import webhooks
from catalog.services.queries.webhooks import webhook_create, webhook_secret, webhook_secret_renew
from tests.helpers.factories import make_query
from tests.helpers.servers import Server, certificate, http_response, redirect
from worker.tasks import search, sweep
from worker.tasks.net import release_own_claims, send_webhook

pytestmark = pytest.mark.django_db

Serve = Callable[..., Server]
OK = http_response(b"thanks")


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Any, str]]:
    """The messages that would be sent at a commit: task, id and queue."""
    messages: list[tuple[str, Any, str]] = []

    def note(name: str, row_id: Any, *, queue: str, priority: int) -> None:
        messages.append((name, row_id, queue))

    monkeypatch.setattr(tasks, "_send_after_commit", note)
    return messages


def webhook_to(url: str, **columns: Any) -> WebhookDelivery:
    """One that is due, unless the query's columns say otherwise."""
    return webhook_create(query=make_query(**{"state": QueryState.DONE, **columns}), url=url)


def send(delivery: WebhookDelivery) -> WebhookDelivery:
    send_webhook(str(delivery.pk))
    delivery.refresh_from_db()
    return delivery


def parse_request(request: bytes) -> tuple[str, dict[str, str], bytes]:
    """The first line, the headers in small letters, and the body."""
    head, _, body = request.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    return first, {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}, body


def secret_of(delivery: WebhookDelivery) -> str:
    owner = delivery.query.owner
    assert owner is not None
    return webhook_secret(user=owner)


def test_a_finished_query_is_delivered(serve: Serve) -> None:
    server = serve(OK)
    delivery = send(webhook_to(server.url("/told?by=us"), outcome="close_match"))
    assert (delivery.state, delivery.attempts, delivery.error) == (WebhookState.DELIVERED, 1, "")
    assert delivery.delivered_at is not None
    first, headers, body = parse_request(server.requests[0])
    assert first == "POST /told?by=us HTTP/1.1"
    assert headers["content-type"] == "application/json"
    assert headers["webhook-id"] == str(delivery.query_id)
    assert Webhook(secret_of(delivery)).verify(body, headers) == {
        "type": "query.ended",
        "query": str(delivery.query_id),
        "state": "done",
        "outcome": "close_match",
        "error": None,
        "url": reverse("api:query", args=[delivery.query_id]),
    }


def test_a_failed_query_is_delivered_with_its_error(serve: Serve) -> None:
    server = serve(OK)
    delivery = send(
        webhook_to(server.url(), state=QueryState.FAILED, error_code="no_encoder", error_detail="None yet.")
    )
    told = Webhook(secret_of(delivery)).verify(*reversed(parse_request(server.requests[0])[1:]))
    assert (told["state"], told["outcome"]) == ("failed", None)
    assert told["error"] == {"code": "no_encoder", "detail": "None yet."}


def test_a_changed_body_and_another_key_fail_the_verification(serve: Serve) -> None:
    server = serve(OK)
    delivery = send(webhook_to(server.url()))
    _, headers, body = parse_request(server.requests[0])
    for secret, text in ((secret_of(delivery), body + b" "), (secret_of(webhook_to("http://a.example/")), body)):
        with pytest.raises(WebhookVerificationError):
            Webhook(secret).verify(text, headers)


def test_the_documented_verification_accepts_only_our_requests(serve: Serve) -> None:
    document = (Path(__file__).resolve().parents[3] / "docs" / "api.md").read_text()
    names: dict[str, Any] = {}
    exec(document.split("## Webhooks")[1].split("```python\n")[1].split("```")[0], names)  # noqa: S102 - our own
    is_from_the_site = names["is_from_the_site"]
    server = serve(OK)
    secret = secret_of(send(webhook_to(server.url())))
    _, headers, body = parse_request(server.requests[0])
    assert is_from_the_site(secret, headers, body)
    assert not is_from_the_site(secret, headers, body + b" ")
    assert not is_from_the_site(new_secret(), headers, body)
    assert not is_from_the_site(secret, headers | {"webhook-timestamp": "1700000000"}, body)
    assert not is_from_the_site(secret, headers | {"webhook-signature": "v2,abc"}, body)


def test_after_a_renewal_the_new_secret_signs(serve: Serve) -> None:
    server = serve(OK)
    delivery = webhook_to(server.url())
    owner = delivery.query.owner
    assert owner is not None
    old, new = secret_of(delivery), webhook_secret_renew(user=owner)
    send(delivery)
    _, headers, body = parse_request(server.requests[0])
    assert Webhook(new).verify(body, headers)["state"] == "done"
    with pytest.raises(WebhookVerificationError):
        Webhook(old).verify(body, headers)


@pytest.mark.parametrize("state", [QueryState.QUEUED, QueryState.SEARCHING])
def test_nothing_is_sent_before_the_end_of_the_query(serve: Serve, state: QueryState) -> None:
    server = serve(OK)
    assert send(webhook_to(server.url(), state=state)).attempts == 0
    assert server.hits == 0


@pytest.mark.database
def test_a_message_delivered_twice_sends_once(serve: Serve) -> None:
    server = serve(OK)
    send(send(webhook_to(server.url())))
    assert server.hits == 1


@pytest.mark.parametrize("status", ["201 Created", "204 No Content"])
def test_every_success_is_a_delivery(serve: Serve, status: str) -> None:
    assert send(webhook_to(serve(http_response(b"", status=status)).url())).state == WebhookState.DELIVERED


def silence(connection: socket.socket) -> None:
    connection.recv(1)  # until the other side hangs up


def endless(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    while True:
        connection.sendall(b"X-More: " + b"x" * 1000 + b"\r\n")


@pytest.mark.parametrize(
    ("does", "why"),
    [
        (http_response(b"", status="500 Internal Server Error"), "The server answered 500."),
        (redirect("http://127.0.0.1/"), "The server answered 302."),
        (b"nonsense\r\n\r\n", "The server could not be reached, or did not answer with HTTP."),
        (b"", "The server could not be reached, or did not answer with HTTP."),
        (endless, "The server could not be reached, or did not answer with HTTP."),
        (silence, "The server did not answer within 1 seconds."),
    ],
)
def test_any_other_response_is_a_failed_attempt(
    serve: Serve, does: Any, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(post, "SECONDS", 0.6)
    before = timezone.now()
    delivery = send(webhook_to(serve(does).url()))
    assert (delivery.state, delivery.attempts, delivery.error) == (WebhookState.WAITING, 1, why)
    assert RETRY_DELAYS[0] <= delivery.next_at - before < RETRY_DELAYS[0] + timedelta(seconds=20)


def test_a_redirect_is_not_followed(serve: Serve) -> None:
    inside = serve(OK)
    send(webhook_to(serve(redirect(inside.url())).url()))
    assert inside.hits == 0


def test_an_endless_response_body_is_not_read(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    def pour(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            connection.sendall(b"x" * 65536)

    assert send(webhook_to(serve(pour).url())).state == WebhookState.DELIVERED


def test_a_server_with_an_invalid_certificate_gets_no_request(serve: Serve, tmp_path: Any) -> None:
    context: ssl.SSLContext = certificate(tmp_path, "localhost")[0]
    server = serve(OK, tls=context)
    assert send(webhook_to(server.url())).error == "The server has no valid certificate."
    assert server.requests == []


@pytest.mark.parametrize("url", ["http://127.0.0.1/", "http://169.254.169.254/latest/", "http://[::1]/"])
def test_private_addresses_get_no_request(url: str) -> None:
    delivery = send(webhook_to(url))
    assert (delivery.state, delivery.error) == (WebhookState.WAITING, "This address is not on the public internet.")


def test_a_host_removed_from_the_setting_gets_no_request(serve: Serve, settings: Settings) -> None:
    server = serve(OK)
    delivery = webhook_to(server.url())
    settings.FETCH_PRIVATE_HOSTS = []
    assert send(delivery).state == WebhookState.WAITING
    assert server.hits == 0


def test_a_delivery_is_given_up_after_five_attempts_in_about_an_hour(serve: Serve) -> None:
    server = serve(http_response(b"", status="503 Service Unavailable"))
    delivery = webhook_to(server.url())
    waited = timedelta()
    for _ in range(MAX_TRIES):
        asked_at = timezone.now()
        send(delivery)
        waited += max(delivery.next_at - asked_at, timedelta())
        send(delivery)  # too early
        WebhookDelivery.objects.update(next_at=asked_at)
    assert timedelta(minutes=50) < waited < timedelta(minutes=62)
    assert (delivery.state, delivery.attempts, server.hits) == (WebhookState.GIVEN_UP, MAX_TRIES, MAX_TRIES)
    assert delivery.error == "The server answered 503."
    send(delivery)
    assert server.hits == MAX_TRIES


def test_a_failed_attempt_is_followed_by_a_successful_one(serve: Serve) -> None:
    delivery = send(webhook_to(serve(http_response(b"", status="503 Busy")).url()))
    WebhookDelivery.objects.update(url=serve(OK).url(), next_at=timezone.now())
    send(delivery)
    assert (delivery.state, delivery.attempts, delivery.error) == (WebhookState.DELIVERED, 2, "")


@pytest.mark.database
def test_a_query_that_is_deleted_during_the_delivery_leaves_no_row(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    delivery = webhook_to(serve(OK).url())
    post = webhooks.post_json

    def post_and_delete(*arguments: Any) -> None:
        post(*arguments)
        delivery.query.delete()

    monkeypatch.setattr(webhooks, "post_json", post_and_delete)
    send_webhook(str(delivery.pk))
    assert not WebhookDelivery.objects.exists()
    assert "was given to another worker" in caplog.text


def test_the_end_of_a_query_sends_its_webhook(sent: list[tuple[str, Any, str]]) -> None:
    query = make_query(state=QueryState.QUEUED)
    delivery = webhook_create(query=query, url="http://a.example/")
    search.embed_query(str(query.pk))  # fails: there is no encoder
    query.refresh_from_db()
    assert query.state == QueryState.FAILED
    assert sent == [(tasks.SEND_WEBHOOK, delivery.pk, "net")]


def test_a_query_without_a_webhook_sends_none(sent: list[tuple[str, Any, str]]) -> None:
    search.embed_query(str(make_query(state=QueryState.QUEUED).pk))
    assert sent == []


@pytest.mark.database
def test_the_sweep_sends_only_due_deliveries_again(sent: list[tuple[str, Any, str]]) -> None:
    due, too_early, unfinished, told = (webhook_to("http://a.example/") for _ in range(4))
    long_ago = timezone.now() - 2 * RESEND_AFTER
    WebhookDelivery.objects.update(nudged_at=long_ago)
    WebhookDelivery.objects.filter(pk=too_early.pk).update(next_at=timezone.now() + timedelta(minutes=1))
    WebhookDelivery.objects.filter(pk=told.pk).update(state=WebhookState.DELIVERED)
    SimilarityQuery.objects.filter(pk=unfinished.query_id).update(state=QueryState.SEARCHING)
    for _ in range(2):  # once per RESEND_AFTER
        sweep.sweep()
    assert sent == [(tasks.SEND_WEBHOOK, due.pk, "net")]


def test_deliveries_of_a_killed_worker_are_tried_again_a_limited_number_of_times() -> None:
    delivery = webhook_to("http://a.example/")
    for tries in range(1, MAX_TRIES + 1):
        assert WebhookDelivery.objects.claim(delivery.pk, worker="net@here") is not None
        release_own_claims(SimpleNamespace(hostname="net@there"))
        delivery.refresh_from_db()
        assert (delivery.state, delivery.attempts) == (WebhookState.SENDING, tries)
        release_own_claims(SimpleNamespace(hostname="net@here"))
    delivery.refresh_from_db()
    assert (delivery.state, delivery.claim_token) == (WebhookState.GIVEN_UP, None)


@pytest.mark.database
def test_the_sweep_releases_the_claim_of_a_hanging_worker(sent: list[tuple[str, Any, str]], serve: Serve) -> None:
    delivery = webhook_to("http://a.example/")
    mine = WebhookDelivery.objects.claim(delivery.pk, worker="net@here")
    assert mine is not None
    long_ago = timezone.now() - timedelta(hours=1)
    WebhookDelivery.objects.update(claimed_at=long_ago, nudged_at=long_ago)
    sweep.sweep()
    assert sent == [(tasks.SEND_WEBHOOK, delivery.pk, "net")]
    assert WebhookDelivery.objects.claim(delivery.pk, worker="net@other") is not None
    with pytest.raises(ClaimLost):
        mine.record_delivery()
