"""Endpoint with the state changes of a query as server-sent events."""

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
from catalog.api.authentication import current_user
from catalog.api.permissions import ANY_SCOPE
from catalog.api.renderers import EventStream
from catalog.api.schema import problems
from catalog.api.serializers.queries import QuerySerializer
from catalog.models import SimilarityQuery
from catalog.models.queries import WAITING
from catalog.services.queries.read import queries_with_answers, queue_position

STREAM_SECONDS = 30.0  # lifetime of a stream; the client reconnects afterwards
HEARTBEAT = 5.0  # seconds between writes at most: a write detects a disconnected client
RETRY_MS = 2000  # until the client reconnects
STREAMS = 8  # concurrent ones per process: each holds a thread, and this is half of the default number of threads

_slots = BoundedSemaphore(STREAMS)

logger = logging.getLogger(__name__)


class QueryEvents(APIView):
    """Follow a query until it has ended."""

    renderer_classes = (EventStream, JSONRenderer)
    http_method_names = ("get",)  # a HEAD would wait for the end of the stream
    scopes = ANY_SCOPE

    @extend_schema(
        operation_id="query_events",
        tags=["queries"],
        description='Server-sent events: `state` at each change, with the data `{"state": …, "position": …}` '
        "(`position` in the queue, 1 for the next, only while the query waits), then `done` with the whole query; "
        "`gone` if it has been deleted. A stream ends after 30 seconds, or at once while too many are open; browsers "
        "reconnect automatically.",
        responses={(200, EventStream.media_type): OpenApiTypes.ANY, **problems(401, 403, 404, 406, 429)},
    )
    def get(self, request: Request, pk: UUID) -> StreamingHttpResponse:
        if not SimilarityQuery.objects.owned_by(owner=current_user(request)).filter(pk=pk).exists():
            raise Http404
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}  # else nginx buffers the events
        return StreamingHttpResponse(_stream(request, pk), content_type=EventStream.media_type, headers=headers)


def _stream(request: Request, pk: UUID) -> Iterator[bytes]:
    yield f"retry: {RETRY_MS}\n\n".encode()
    slots = _slots
    has_slot = slots.acquire(blocking=False)
    try:
        with events.QuerySubscription(pk) as changes:
            yield from _events(request, pk, changes, STREAM_SECONDS if has_slot else 0.0)
    except DatabaseError as error:  # the headers are sent already: end the stream, and the client reconnects
        logger.warning("The event stream of query %s ended early: the database failed (%s).", pk, error)
    finally:
        if has_slot:
            slots.release()


def _events(request: Request, pk: UUID, changes: events.QuerySubscription, seconds: float) -> Iterator[bytes]:
    """Read the row, yield its state if it changed, wait for a change or the heartbeat; repeat for `seconds`."""
    deadline = time.monotonic() + seconds
    last: dict[str, Any] = {}
    queries = SimilarityQuery.objects.owned_by(owner=current_user(request)).only("state", "created_at")
    while True:
        query = queries.filter(pk=pk).first()
        if query is None:
            yield _event("gone", {})
            return
        if query.has_ended:
            yield _event("done", _query_body(request, pk))
            return
        progress = _progress(query)
        yield _event("state", progress) if progress != last else b": heartbeat\n\n"
        last = progress
        seconds_left = deadline - time.monotonic()
        if seconds_left <= 0:
            return
        changes.wait(min(seconds_left, HEARTBEAT))


def _progress(query: SimilarityQuery) -> dict[str, Any]:
    waits = {"position": queue_position(query=query)} if query.state in WAITING else {}
    return {"state": query.state, **waits}


def _query_body(request: Request, pk: UUID) -> Any:
    query = queries_with_answers(owner=current_user(request)).filter(pk=pk).first()
    return {} if query is None else QuerySerializer(query, context={"request": request}).data


def _event(name: str, data: Any) -> bytes:
    text = json.dumps(data) if isinstance(data, dict) else JSONRenderer().render(data).decode()
    return f"event: {name}\ndata: {text}\n\n".encode()
