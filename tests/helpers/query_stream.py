"""Clients that send the same photo again and again while a test changes the site."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import inf
from typing import Any

from tests.helpers.site import Phone


@dataclass
class QueryStream:
    """Answers of all clients as (sent at, done at, query), and the bodies of responses that were no answer."""

    answers: list[tuple[float, float, dict[str, Any]]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def encoders(self, since: float = 0.0, until: float = inf) -> set[str]:
        """Return the encoders of the queries that were sent after `since` and done before `until`."""
        return {answer["encoder"] for sent, done, answer in self.answers if since <= sent and done < until}


@contextmanager
def query_stream(phone: Phone, photo: bytes, clients: int = 2) -> Iterator[QueryStream]:
    """Let `clients` threads send queries until the block ends; the last queries are still waited for."""
    stream, stopping = QueryStream(), threading.Event()

    def send_queries() -> None:
        while not stopping.is_set():
            sent = time.time()
            response = phone.post(photo, wait=20, k=5)
            if response.status_code == 200 and response.json()["state"] == "done":
                stream.answers.append((sent, time.time(), response.json()))
            else:
                stream.failures.append(response.text)

    threads = [threading.Thread(target=send_queries) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield stream
    finally:
        stopping.set()
        for thread in threads:
            thread.join()
