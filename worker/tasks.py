"""The tasks. Each loads a row, claims it, calls one function and records what came of it.

A message may be lost or come twice: a claim makes the work happen once, the sweep makes it happen at all.
"""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

from celery import Task, shared_task
from django.conf import settings
from django.utils import timezone

from catalog import queue
from catalog.errors import ClaimLost, Refused
from catalog.models import Encoder, ImportJob, QueryState, Recommendation, SimilarityQuery
from catalog.services.uploads import uploads_expire, uploads_remove_orphans
from worker.embedding import embed_batch, query_vector
from worker.index import index_of
from worker.searching import similar_items

logger = logging.getLogger(__name__)


@shared_task(name=queue.EMBED_QUERY, bind=True)
def embed_query(self: "Task[Any, Any]", query_id: str) -> None:
    """queued -> embedded: the photo becomes a vector."""
    query = SimilarityQuery.objects.claim(query_id, QueryState.QUEUED, worker=self.request.hostname or "")
    if query is None:
        return
    with recording_failures(query):
        waited = _ms_between(query.created_at, query.claimed_at)
        encoder = Encoder.objects.live()
        if encoder is None:
            raise Refused("no_encoder", "This site has no encoder yet; its staff must register one.", status=503)
        started = time.perf_counter()
        vector = query_vector(query, encoder)
        query.record_embedding(encoder, vector, {"queue": waited, "embed": _ms_since(started)})
        queue.send_search_query(query.pk)


@shared_task(name=queue.SEARCH_QUERY, bind=True)
def search_query(self: "Task[Any, Any]", query_id: str) -> None:
    """embedded -> done: the vector becomes recommendations."""
    query = SimilarityQuery.objects.claim(query_id, QueryState.EMBEDDED, worker=self.request.hostname or "")
    if query is None:
        return
    with recording_failures(query):
        waited = query.timings.get("queue", 0.0) + _ms_between(query.embedded_at, query.claimed_at)
        started = time.perf_counter()
        hits = similar_items(query, index_of(query.answering_encoder))
        searched = _ms_since(started)
        rows = [
            Recommendation(query=query, rank=rank, item_id=hit.item_id, photo_id=hit.photo_id, score=hit.score)
            for rank, hit in enumerate(hits, start=1)
        ]
        query.record_answer(rows, {"queue": round(waited, 2), "search": searched})
    queue.announce_ended(query.pk)


@shared_task(name=queue.EMBED_CATALOG, bind=True)
def embed_catalog(self: "Task[Any, Any]", encoder_id: str) -> None:
    """Embed one batch of the photos that an encoder has not seen, and send for the next."""
    encoder = Encoder.objects.get(pk=encoder_id).claim(self.request.hostname or "")
    if encoder is None:
        return
    try:
        done = embed_batch(encoder)
    finally:
        encoder.release()
    if done:
        queue.send_embed_catalog(encoder.pk)


@shared_task(name="worker.sweep")
def sweep() -> None:
    """Find work whose message or worker was lost, and send it again."""
    lease_over = timezone.now() - timedelta(seconds=settings.CLAIM_SECONDS)
    SimilarityQuery.objects.claimed_before(lease_over).release()
    Encoder.objects.claimed_before(lease_over).release()
    ImportJob.objects.mark_interrupted()
    for query in SimilarityQuery.objects.take_unheard():
        send = queue.send_embed_query if query.state == QueryState.QUEUED else queue.send_search_query
        send(query.pk)
    for encoder in Encoder.objects.in_use().filter(claim_token=None):
        if encoder.missing_photos().exists():
            queue.send_embed_catalog(encoder.pk)


@shared_task(name="worker.expire_photos")
def expire_photos() -> None:
    """Delete the uploaded photos whose time is over, and files that a killed process left without a row."""
    if count := uploads_expire():
        logger.info("Deleted %d uploaded photos whose time was over.", count)
    if count := uploads_remove_orphans():
        logger.info("Deleted %d uploaded files that no row names.", count)


@contextmanager
def recording_failures(query: SimilarityQuery) -> Iterator[None]:
    """Write down what stopped the work on a claimed query: bad input ends it, a crash of ours is tried again."""
    try:
        yield
    except ClaimLost as lost:
        logger.warning("%s", lost)
    except Refused as refused:
        query.record_failure(refused.code, refused.detail)
        queue.announce_ended(query.pk)
    except Exception:
        query.give_back()
        raise


def _ms_since(started: float) -> float:
    return round((time.perf_counter() - started) * 1000, 2)


def _ms_between(earlier: datetime | None, later: datetime | None) -> float:
    return round((later - earlier).total_seconds() * 1000, 2) if earlier and later else 0.0
