"""A stream of queries: several clients that send a photo again and again, and the answers they get."""

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
    """The answers, each with the moments of its request and its arrival, and the texts of failed ones."""

    answers: list[tuple[float, float, dict[str, Any]]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def encoders(self, since: float = 0.0, until: float = inf) -> set[str]:
        """The encoders of queries sent after `since` and answered before `until`."""
        return {answer["encoder"] for sent, received, answer in self.answers if since <= sent and received < until}


@contextmanager
def query_stream(phone: Phone, photo: bytes, count: int = 2) -> Iterator[QueryStream]:
    """`count` clients query without a pause until the block ends; their last queries are still answered."""
    stream, is_over = QueryStream(), threading.Event()

    def send_queries() -> None:
        while not is_over.is_set():
            sent = time.time()
            response = phone.post(photo, wait=20, k=5)
            if response.status_code == 200 and response.json()["state"] == "done":
                stream.answers.append((sent, time.time(), response.json()))
            else:
                stream.failures.append(response.text)

    threads = [threading.Thread(target=send_queries) for _ in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield stream
    finally:
        is_over.set()
        for thread in threads:
            thread.join()
