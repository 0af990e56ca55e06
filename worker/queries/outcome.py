"""What every task on a query does alike: write down how it failed, and how long it took. Loads no network."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from django.core.exceptions import ObjectDoesNotExist

from catalog import events, tasks
from catalog.errors import ClaimLost, Refused
from catalog.models import SimilarityQuery

logger = logging.getLogger(__name__)


@contextmanager
def recording_failures(query: SimilarityQuery) -> Iterator[None]:
    """Write down what stopped the work on a claimed query: bad input ends it, a crash of ours is tried again."""
    try:
        try:
            yield
        except Refused as refused:
            query.record_failure(refused.code, refused.detail)
            tell_ended(query)
    except ClaimLost as lost:  # also of a query that was deleted meanwhile, which is why its photo was not there
        logger.warning("%s", lost)
    except Exception as error:
        if isinstance(error, ObjectDoesNotExist) and not SimilarityQuery.objects.filter(pk=query.pk).exists():
            logger.warning("%s was deleted, and what it is about", query)
            return
        query.requeue()
        raise


def tell_ended(query: SimilarityQuery) -> None:
    """Wake whoever waits for this query, and have its webhook sent if it has one."""
    events.announce_ended(query.pk)
    if query.has_webhook and (webhook := getattr(query, "webhook", None)) is not None:
        tasks.send_webhook(webhook.pk)


def ms_since(started: float) -> float:
    """Milliseconds since a reading of `time.perf_counter`."""
    return round((time.perf_counter() - started) * 1000, 2)


def ms_between(earlier: datetime | None, later: datetime | None) -> float:
    """Milliseconds from one moment to another; 0 if one of them has not come."""
    return round((later - earlier).total_seconds() * 1000, 2) if earlier and later else 0.0
