"""Being told of a query instead of asking: by server-sent events through the real web server, and by webhook."""

import json
import time
from collections.abc import Iterator

import pytest
import requests
from standardwebhooks import Webhook

from tests.helpers.servers import Server, answer
from tests.helpers.site import TIMEOUT, Phone, Site, wait_until

pytestmark = pytest.mark.system


def followed(phone: Phone, query_id: str) -> Iterator[tuple[float, str, str]]:
    """The events as they arrive: when, the name, and the state that is told."""
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


def test_a_query_is_followed_event_by_event_and_its_end_is_told(phone: Phone, site: Site, photo: bytes) -> None:
    receiver = Server(answer(b"", status="204 No Content"), port=site.receiver_port)
    secret = phone.get("/api/v1/me/webhook-secret/").json()["secret"]
    site.kill("gpu")
    made = phone.post(photo, callback_url=f"http://localhost:{site.receiver_port}/told").json()
    stream = followed(phone, made["id"])
    first_at, *first = next(stream)
    assert first == ["state", "queued"]  # it is here while the query still waits, so nobody keeps it for later
    site.start("gpu")
    rest = list(stream)
    assert rest[-1][1:] == ("done", "done")
    assert len({at for at, *_ in rest}) == len(rest)
    assert rest[-1][0] - first_at > 0.5  # a worker takes longer to start

    wait_until(lambda: receiver.requests, "the webhook")
    head, _, body = receiver.requests[0].partition(b"\r\n\r\n")
    told = Webhook(secret).verify(body, dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:]))
    assert (told["query"], told["state"]) == (made["id"], "done")
    assert site.address + told["url"] == made["url"]
    delivered = wait_until(
        lambda: (now := phone.query(made["id"])["webhook"])["state"] == "delivered" and now, "its state"
    )
    assert delivered["attempts"] == 1
    receiver.close()
