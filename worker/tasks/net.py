"""The task of the `net` worker: waiting for other people's servers, eight at a time.

It imports nothing of `ml` and nothing that does, so that the process stays small; a test proves it.
"""

import time
from threading import BoundedSemaphore
from typing import Any

from celery import Task, shared_task
from celery.signals import worker_ready

from catalog import events, tasks
from catalog.models import QueryState, SimilarityQuery
from catalog.outbound.fetch import fetch_picture
from catalog.services.uploads import upload_attach_fetched
from worker.queries.outcome import ms_since, recording_failures

_cleaning = BoundedSemaphore(2)  # a picture may take 200 MB while it is decoded; fetching eight takes little


@shared_task(name=tasks.FETCH_PHOTO, bind=True)
def fetch_photo(self: "Task[Any, Any]", query_id: str) -> None:
    """to_fetch -> queued: what is at the query's address becomes its photo."""
    query = SimilarityQuery.objects.claim(query_id, QueryState.TO_FETCH, worker=self.request.hostname or "")
    if query is None:
        return
    with recording_failures(query):
        events.announce_change(query.pk)
        started = time.perf_counter()
        raw = fetch_picture(query.source_url)
        timings = {"fetch": ms_since(started)}
        with _cleaning:
            upload_attach_fetched(query=query, raw=raw, timings=timings)
        events.announce_change(query.pk)


@worker_ready.connect
def release_own_claims(sender: Any, **_: Any) -> None:
    """Give back what a worker of this name held when it was killed; the sweep sends it again."""
    SimilarityQuery.objects.held_by(sender.hostname).release()
