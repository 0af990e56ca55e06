"""Server-sent events and webhooks of a query, through the real web server and workers."""

import json
import time
from collections.abc import Iterator

import pytest
import requests
from standardwebhooks import Webhook

from tests.helpers.servers import Server, http_response
from tests.helpers.site import TIMEOUT, Phone, Site, wait_until

pytestmark = pytest.mark.system


def receive_events(phone: Phone, query_id: str) -> Iterator[tuple[float, str, str]]:
    """Yield the events as they arrive: time, name and state of the query."""
    url = f"{phone.site.address}/api/v1/queries/{query_id}/events/"
    headers = {**phone.headers, "Accept": "text/event-stream", "Accept-Encoding": "br, gzip"}
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
        assert response.status_code == 200
        name = ""
        for line in response.iter_lines(chunk_size=1, decode_unicode=True):
            if line.startswith("event: "):
                name = line.removeprefix("event: ")
            elif line.startswith("data: "):
                yield time.monotonic(), name, json.loads(line.removeprefix("data: "))["state"]


def test_a_query_sends_an_event_for_each_state_and_a_webhook_at_its_end(phone: Phone, site: Site, photo: bytes) -> None:
    receiver = Server(http_response(b"", status="204 No Content"), port=site.receiver_port)
    secret = phone.get("/api/v1/me/webhook-secret/").json()["secret"]
    site.kill("gpu")
    query = phone.post(photo, callback_url=f"http://localhost:{site.receiver_port}/webhook").json()
    stream = receive_events(phone, query["id"])
    first_at, *first = next(stream)
    assert first == ["state", "queued"]  # it arrives while the query still waits, so no proxy or middleware buffers it
    site.start("gpu")
    rest = list(stream)
    assert rest[-1][1:] == ("done", "done")
    assert len({at for at, *_ in rest}) == len(rest)
    assert rest[-1][0] - first_at > 0.5  # a worker takes longer to start

    wait_until(lambda: receiver.requests, "the webhook")
    head, _, body = receiver.requests[0].partition(b"\r\n\r\n")
    payload = Webhook(secret).verify(body, dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:]))
    assert (payload["query"], payload["state"]) == (query["id"], "done")
    assert site.address + payload["url"] == query["url"]
    delivered = wait_until(
        lambda: (now := phone.query(query["id"])["webhook"])["state"] == "delivered" and now, "its state"
    )
    assert delivered["attempts"] == 1
    receiver.close()
