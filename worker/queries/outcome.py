"""Claim life cycle and timings shared by the tasks that process a query. Imports no numpy: the `net` worker uses it."""

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
    """Process a claimed query: bad input (`Refused`) fails it, any other error gives it back to be tried again."""

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
    """Milliseconds since a reading of `time.perf_counter`."""
    return round((time.perf_counter() - started) * 1000, 2)


def ms_between(earlier: datetime | None, later: datetime | None) -> float:
    """Milliseconds from one moment to another; 0 if either is None."""
    return round((later - earlier).total_seconds() * 1000, 2) if earlier and later else 0.0
