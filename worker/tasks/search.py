"""The tasks. Each loads a row, claims it, calls one function and records what came of it.

A message may be lost or come twice: a claim makes the work happen once, the sweep makes it happen at all.
"""

import logging
import time
from datetime import timedelta
from typing import Any

from celery import Task, shared_task
from django.conf import settings
from django.utils import timezone

from catalog import events, tasks
from catalog.errors import Refused
from catalog.models import (
    Encoder,
    Evaluation,
    ImportJob,
    QueryState,
    SimilarityQuery,
    TrainingRun,
    WebhookDelivery,
)
from catalog.services.encoders.evaluations import evaluations_ensure
from catalog.services.uploads import uploads_expire, uploads_remove_orphans
from worker.encoders.embedding import colour_batch, embed_missing, is_anything_missing, look_at
from worker.index.registry import index_of
from worker.queries.explain import explained
from worker.queries.outcome import ms_between, ms_since, recording_failures, tell_ended
from worker.queries.search import similar_items

# Who is told of a query that waits.
SENDERS = {
    QueryState.TO_FETCH: tasks.send_fetch_photo,
    QueryState.QUEUED: tasks.send_embed_query,
    QueryState.EMBEDDED: tasks.send_search_query,
}

logger = logging.getLogger(__name__)


@shared_task(name=tasks.EMBED_QUERY, bind=True)
def embed_query(self: "Task[Any, Any]", query_id: str) -> None:
    """queued -> embedded: what is asked about becomes a vector."""
    query = SimilarityQuery.objects.claim(query_id, QueryState.QUEUED, worker=self.request.hostname or "")
    if query is None:
        return
    with recording_failures(query):
        events.announce_change(query.pk)
        waited = ms_between(query.created_at, query.claimed_at)
        encoder = Encoder.objects.live()
        if encoder is None:
            raise Refused("no_encoder", "This site has no encoder yet; its staff must register one.", status=503)
        started = time.perf_counter()
        seen = look_at(query, encoder, anew=query.came_with_photo)
        timings = {"queue": waited, "embed": ms_since(started)}
        query.record_embedding(encoder, seen.vector, timings, colour_lab=seen.colour_lab, guess=seen.guess)
        tasks.send_search_query(query.pk)
        events.announce_change(query.pk)


@shared_task(name=tasks.SEARCH_QUERY, bind=True)
def search_query(self: "Task[Any, Any]", query_id: str) -> None:
    """embedded -> done: the vector becomes recommendations."""
    query = SimilarityQuery.objects.claim(query_id, QueryState.EMBEDDED, worker=self.request.hostname or "")
    if query is None:
        return
    with recording_failures(query):
        events.announce_change(query.pk)
        waited = query.timings.get("queue", 0.0) + ms_between(query.embedded_at, query.claimed_at)
        started = time.perf_counter()
        found = similar_items(query, index_of(query.answering_encoder))
        answer = explained(query, found)
        timings = {"queue": round(waited, 2), "search": ms_since(started)}
        told = {"outcome": answer.outcome, "guess": answer.guess, "last_vector": found.last_vector}
        query.record_answer(answer.recommendations, timings, **told)
        tell_ended(query)


@shared_task(name=tasks.EMBED_CATALOG, bind=True)
def embed_catalog(self: "Task[Any, Any]", encoder_id: str) -> None:
    """Embed photos that an encoder has not seen, for a while, and send for the next.

    Once it has seen all, the same for those whose colour nobody has looked up.

    Nothing is done for an encoder that was retired or deleted since the message was sent, nor for a classifier.
    """
    tasks.embed_catalog_started(int(encoder_id))
    wanted = Encoder.objects.in_use().filter(pk=encoder_id).first()
    encoder = wanted.claim(self.request.hostname or "") if wanted else None
    if encoder is None:
        return
    try:
        done = embed_missing(encoder) or colour_batch()
    finally:
        encoder.release()
    if done:
        tasks.send_embed_catalog(encoder.pk)


@shared_task(name="worker.sweep")
def sweep() -> None:
    """Find work whose message or worker was lost, and send it again."""
    lease_over = timezone.now() - timedelta(seconds=settings.CLAIM_SECONDS)
    SimilarityQuery.objects.claimed_before(lease_over).release()
    WebhookDelivery.objects.claimed_before(lease_over).release()
    Encoder.objects.claimed_before(lease_over).release()
    TrainingRun.objects.claimed_before(lease_over).release("Its worker was not heard of any more.")
    Evaluation.objects.claimed_before(lease_over).release()
    ImportJob.objects.mark_interrupted()
    for query in SimilarityQuery.objects.take_undelivered():
        SENDERS[QueryState(query.state)](query.pk)
    for delivery in WebhookDelivery.objects.due().overdue():
        tasks.send_webhook(delivery.pk)
    for run in TrainingRun.objects.take_undelivered():
        tasks.send_train(run.pk)
    for evaluation in Evaluation.objects.take_undelivered():
        tasks.send_evaluate(evaluation.pk)
    for encoder in Encoder.objects.in_use().filter(claim_token=None):
        if is_anything_missing(encoder):
            tasks.send_embed_catalog(encoder.pk)
    evaluations_ensure()  # may take a while, and nobody waits for it


@shared_task(name="worker.expire_photos")
def expire_photos() -> None:
    """Delete the uploaded photos whose time is over, and files that a killed process left without a row."""
    if count := uploads_expire():
        logger.info("Deleted %d uploaded photos whose time was over.", count)
    if count := uploads_remove_orphans():
        logger.info("Deleted %d uploaded files that no row names.", count)
