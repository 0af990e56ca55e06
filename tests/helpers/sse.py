"""Parse a stream of server-sent events."""

import json
from collections.abc import Iterator
from typing import Any

from catalog.models import SimilarityQuery


def events_url(query: SimilarityQuery) -> str:
    return f"/api/v1/queries/{query.pk}/events/"


def parse_events(stream: Any) -> Iterator[tuple[str, Any]]:
    """Yield each event as name and data; comments as "comment", the reconnection time as "retry"."""
    for block in stream:
        lines = dict(line.split(": ", 1) for line in block.decode().strip().split("\n") if not line.startswith(":"))
        if "retry" in lines:
            yield "retry", int(lines["retry"])
        elif lines:
            yield lines["event"], json.loads(lines["data"])
        else:
            yield "comment", None
