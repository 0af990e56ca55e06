"""Celery tasks of the `net` worker, which makes outbound requests: fetch_photo and send_webhook.

Imports neither numpy nor `ml`, so that its process stays small (checked in tests/test_structure.py).
"""

import time
from threading import BoundedSemaphore
from typing import Any

from celery import Task, shared_task
from celery.signals import worker_ready

from catalog import events, tasks
from catalog.models import QueryState, SimilarityQuery, WebhookDelivery
from catalog.outbound.fetch import fetch_picture
from catalog.services.queries.webhooks import webhook_send
from catalog.services.uploads import upload_attach_fetched
from worker.claims import claimed
from worker.queries.outcome import claimed_query, ms_since

_decoding = BoundedSemaphore(2)  # decoding a picture may take 200 MB; fetching eight at once takes little


@shared_task(name=tasks.FETCH_PHOTO, bind=True)
def fetch_photo(self: "Task[Any, Any]", query_id: str) -> None:
    """to_fetch -> queued: download the photo at the query's `source_url`."""
    query = SimilarityQuery.objects.claim(query_id, QueryState.TO_FETCH, worker=self.request.hostname or "")
    if query is None:
        return
    with claimed_query(query):
        events.announce_change(query.pk)
        started = time.perf_counter()
        raw = fetch_picture(query.source_url)
        timings = {"fetch": ms_since(started)}
        with _decoding:
            upload_attach_fetched(query=query, raw=raw, timings=timings)
        events.announce_change(query.pk)


@shared_task(name=tasks.SEND_WEBHOOK, bind=True)
def send_webhook(self: "Task[Any, Any]", delivery_id: str) -> None:
    """waiting -> delivered, or waiting for the next attempt. After a crash the sweep releases the claim."""
    delivery = WebhookDelivery.objects.claim(delivery_id, worker=self.request.hostname or "")
    if delivery is None:
        return
    with claimed(fail=lambda error: delivery.record_failure(str(error)), requeue=lambda _: None):
        webhook_send(delivery=delivery)
        delivery.record_delivery()


@worker_ready.connect
def release_own_claims(sender: Any, **_: Any) -> None:
    """Release what a worker of this name held when it was killed; the sweep sends it again."""
    SimilarityQuery.objects.held_by(sender.hostname).release_claims()
    WebhookDelivery.objects.held_by(sender.hostname).release_claims()
