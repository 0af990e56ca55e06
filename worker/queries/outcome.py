"""Claim life cycle and timings of the tasks that process a query. Must not import numpy, for the `net` worker."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from django.core.exceptions import ObjectDoesNotExist

from catalog import events, tasks
from catalog.errors import ClaimLost, Refused
from catalog.models import SimilarityQuery
from worker.claims import claimed


@contextmanager
def claimed_query(query: SimilarityQuery) -> Iterator[None]:
    """Process a claimed query: bad input (`Refused`) fails the query, any other error requeues it."""

    def fail(error: Exception) -> None:
        assert isinstance(error, Refused)  # noqa: S101 - the only permanent error
        query.record_failure(error.code, error.detail)
        announce_outcome(query)

    with claimed(fail=fail, requeue=lambda _: query.requeue()):
        try:
            yield
        except ObjectDoesNotExist:  # of the query's photo or item, deleted together with the query
            if SimilarityQuery.objects.filter(pk=query.pk).exists():
                raise
            raise ClaimLost(f"{query} was deleted while it was processed") from None


def announce_outcome(query: SimilarityQuery) -> None:
    """Wake the requests that wait for this query, and send its webhook if it has one."""
    events.announce_ended(query.pk)
    if query.has_webhook and (webhook := getattr(query, "webhook", None)) is not None:
        tasks.send_webhook(webhook.pk)


def ms_since(started: float) -> float:
    """Return the milliseconds since a reading of `time.perf_counter`."""
    return round((time.perf_counter() - started) * 1000, 2)


def ms_between(earlier: datetime | None, later: datetime | None) -> float:
    """Return the milliseconds from one time to another; 0 if either is None."""
    return round((later - earlier).total_seconds() * 1000, 2) if earlier and later else 0.0
