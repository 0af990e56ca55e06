"""A query's way as it goes: server-sent events."""

import json
import logging
import time
from collections.abc import Iterator
from threading import BoundedSemaphore
from typing import Any
from uuid import UUID

from django.db import DatabaseError
from django.http import Http404, StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.views import APIView

from catalog import events
from catalog.api.authentication import signed_in
from catalog.api.permissions import EVERYBODY
from catalog.api.renderers import EventStream
from catalog.api.schema import problems
from catalog.api.serializers.queries import QuerySerializer
from catalog.models import SimilarityQuery
from catalog.models.queries import WAITING
from catalog.services.queries.answers import queries_with_answers, queue_position

SECONDS = 30.0  # a stream's life; the client comes again after that
HEARTBEAT = 5.0  # seconds of silence at most, by which a client that has gone is noticed
RETRY_MS = 2000  # until the client comes again
STREAMS = 8  # at once in one process, half of its threads by default: each stream holds one

_free = BoundedSemaphore(STREAMS)

logger = logging.getLogger(__name__)


class QueryEvents(APIView):
    """Follows a query until it has ended."""

    renderer_classes = (EventStream, JSONRenderer)
    http_method_names = ("get",)  # a HEAD would wait for a body that nobody reads
    scopes = EVERYBODY

    @extend_schema(
        operation_id="query_events",
        tags=["queries"],
        description='Server-sent events: `state` at each change, with the data `{"state": …, "position": …}` '
        "(`position` only while it waits; 1 is the next), then `done` with the whole query; `gone` if it was deleted "
        "meanwhile. A stream ends after 30 seconds, or at once while too many are open; browsers then come again by "
        "themselves.",
        responses={(200, EventStream.media_type): OpenApiTypes.ANY, **problems(401, 403, 404, 406, 429)},
    )
    def get(self, request: Request, pk: UUID) -> StreamingHttpResponse:
        if not SimilarityQuery.objects.owned_by(user=signed_in(request)).filter(pk=pk).exists():
            raise Http404
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}  # nginx would keep the events until the end
        return StreamingHttpResponse(_stream(request, pk), content_type=EventStream.media_type, headers=headers)


def _stream(request: Request, pk: UUID) -> Iterator[bytes]:
    yield f"retry: {RETRY_MS}\n\n".encode()
    free = _free
    may_wait = free.acquire(blocking=False)
    try:
        with events.QuerySubscription(pk) as changes:
            yield from _events(request, pk, changes, SECONDS if may_wait else 0.0)
    except DatabaseError as error:  # the headers are out: all that can be said is to come again
        logger.warning("Query %s cannot be followed (%s).", pk, error)
    finally:
        if may_wait:
            free.release()


def _events(request: Request, pk: UUID, changes: events.QuerySubscription, seconds: float) -> Iterator[bytes]:
    """Reads the row, tells what is new, waits for a change or a heartbeat, and reads again."""
    deadline = time.monotonic() + seconds
    last: dict[str, Any] = {}
    queries = SimilarityQuery.objects.owned_by(user=signed_in(request)).only("state", "created_at")
    while True:
        query = queries.filter(pk=pk).first()
        if query is None:
            yield _event("gone", {})
            return
        if query.has_ended:
            yield _event("done", _whole(request, pk))
            return
        now = _progress(query)
        yield _event("state", now) if now != last else b": still here\n\n"
        last = now
        left = deadline - time.monotonic()
        if left <= 0:
            return
        changes.wait(min(left, HEARTBEAT))


def _progress(query: SimilarityQuery) -> dict[str, Any]:
    waits = {"position": queue_position(query=query)} if query.state in WAITING else {}
    return {"state": query.state, **waits}


def _whole(request: Request, pk: UUID) -> Any:
    query = queries_with_answers(owner=signed_in(request)).filter(pk=pk).first()
    return {} if query is None else QuerySerializer(query, context={"request": request}).data


def _event(name: str, data: Any) -> bytes:
    text = json.dumps(data) if isinstance(data, dict) else JSONRenderer().render(data).decode()
    return f"event: {name}\ndata: {text}\n\n".encode()
