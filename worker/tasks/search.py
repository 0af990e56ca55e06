"""Celery tasks of the `gpu` and `cpu` workers: embed_query, search_query and embed_catalog.

A message may be lost or delivered twice: the claim makes the work happen once, the sweep makes it happen at all.
"""

import time
from typing import Any

from celery import Task, shared_task

from catalog import events, tasks
from catalog.errors import Refused
from catalog.models import Encoder, QueryState, SimilarityQuery
from worker.claims import claimed
from worker.encoders import embedding
from worker.index.registry import index_of
from worker.queries.explain import explain
from worker.queries.outcome import announce_outcome, claimed_query, ms_between, ms_since
from worker.queries.search import find_similar_items


@shared_task(name=tasks.EMBED_QUERY, bind=True)
def embed_query(self: "Task[Any, Any]", query_id: str) -> None:
    """queued -> embedded: compute the vector of the query's photos or item."""
    query = SimilarityQuery.objects.claim(query_id, QueryState.QUEUED, worker=self.request.hostname or "")
    if query is None:
        return
    with claimed_query(query):
        events.announce_change(query.pk)
        encoder = _live_encoder()
        started = time.perf_counter()
        embedded = embedding.embed_query(query, encoder, reuse=not query.came_with_photo)
        timings = {"queue": ms_between(query.created_at, query.claimed_at), "embed": ms_since(started)}
        query.record_embedding(encoder, embedded.vector, timings, colour_lab=embedded.colour_lab, guess=embedded.guess)
        tasks.send_search_query(query.pk)
        events.announce_change(query.pk)


def _live_encoder() -> Encoder:
    encoder = Encoder.objects.live()
    if encoder is None:
        raise Refused("no_encoder", "This site has no encoder yet; its staff must register one.", status=503)
    return encoder


@shared_task(name=tasks.SEARCH_QUERY, bind=True)
def search_query(self: "Task[Any, Any]", query_id: str) -> None:
    """embedded -> done: search the index for the query's vector and record the recommendations."""
    query = SimilarityQuery.objects.claim(query_id, QueryState.EMBEDDED, worker=self.request.hostname or "")
    if query is None:
        return
    with claimed_query(query):
        events.announce_change(query.pk)
        _search(query)
        announce_outcome(query)


def _search(query: SimilarityQuery) -> None:
    waited = query.timings.get("queue", 0.0) + ms_between(query.embedded_at, query.claimed_at)
    started = time.perf_counter()
    result = find_similar_items(query, index_of(query.answering_encoder))
    answer = explain(query, result)
    timings = {"queue": round(waited, 2), "search": ms_since(started)}
    columns = {"outcome": answer.outcome, "guess": answer.guess, "last_vector": result.last_vector}
    query.record_answer(answer.recommendations, timings, **columns)


@shared_task(name=tasks.EMBED_CATALOG, bind=True)
def embed_catalog(self: "Task[Any, Any]", encoder_id: str) -> None:
    """Embed catalogue photos that the encoder lacks for a few seconds, then send the next message.

    When no vector is missing, photos without a colour get one. Does nothing for a classifier, nor for an encoder that
    was retired or deleted since the message was sent.
    """
    tasks.embed_catalog_started(int(encoder_id))
    in_use = Encoder.objects.in_use().filter(pk=encoder_id).first()
    encoder = in_use.claim(self.request.hostname or "") if in_use else None
    if encoder is None:
        return
    with claimed(fail=lambda _: encoder.release_claim(), requeue=lambda _: encoder.release_claim()):
        done = embedding.embed_missing(encoder) or embedding.colour_batch()
        encoder.release_claim()
        if done:
            tasks.send_embed_catalog(encoder.pk)
