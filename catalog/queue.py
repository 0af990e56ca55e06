"""The one place that speaks to Redis: sending tasks by name, and waiting for an answer.

Rows are the truth and a message is only a nudge that carries one id. When Redis is away nothing here fails: the
sweep sends the message again, and whoever waits asks again. `worker.tasks` has the functions behind the names; they
are never imported here, so a process that sends a task does not load the networks.
"""

import logging
from functools import cache, partial
from math import ceil
from uuid import UUID

import redis
from celery import current_app, signature
from django.conf import settings
from django.db import transaction
from kombu import Connection
from kombu.exceptions import OperationalError
from kombu.pools import producers

EMBED_QUERY = "worker.embed_query"
SEARCH_QUERY = "worker.search_query"
EMBED_CATALOG = "worker.embed_catalog"
SENT_TASKS = (EMBED_QUERY, SEARCH_QUERY, EMBED_CATALOG)

URGENT, PATIENT = 0, 9  # a person waits; nobody does

logger = logging.getLogger(__name__)


def send_embed_query(query_id: UUID) -> None:
    """Have the photo of a queued query embedded, once the current transaction is committed."""
    _send_after_commit(EMBED_QUERY, query_id, queue="gpu", priority=URGENT)


def send_search_query(query_id: UUID) -> None:
    """Have an embedded query answered, once the current transaction is committed."""
    _send_after_commit(SEARCH_QUERY, query_id, queue="cpu", priority=URGENT)


def send_embed_catalog(encoder_id: int) -> None:
    """Have the photos embedded that an encoder has not seen yet, once the current transaction is committed."""
    _send_after_commit(EMBED_CATALOG, encoder_id, queue="gpu", priority=PATIENT)


def _send_after_commit(name: str, row_id: UUID | int, *, queue: str, priority: int) -> None:
    transaction.on_commit(partial(_send, name, row_id, queue=queue, priority=priority))


# Who sends a message does not wait for a Redis that is away; a worker, which shares the settings, waits for ever.
_IMPATIENCE = {"max_retries": 1, "interval_start": 0, "interval_step": 0.1, "interval_max": 0.1}
_PATIENCE = 1.0  # seconds for Redis to answer: one that is there may hang, or the network may swallow what it says


@cache
def _sender() -> Connection:
    connection = current_app.connection_for_write()
    options = {**(connection.transport_options or {}), **_IMPATIENCE, "socket_timeout": _PATIENCE}
    connection.transport_options = options
    return connection


def _send(name: str, row_id: UUID | int, *, queue: str, priority: int) -> None:
    task = signature(name, args=(str(row_id),))
    try:
        with producers[_sender()].acquire(block=True) as producer:
            task.apply_async(queue=queue, priority=priority, producer=producer, retry=True, retry_policy=_IMPATIENCE)
    except (OperationalError, redis.RedisError, OSError) as error:
        logger.warning("The queue cannot be reached (%s); the sweep will send %s %s again.", error, name, row_id)


# An ended query leaves a mark in a list of its own. Waiting is a blocking move from that list to itself: it returns
# at once if the mark is there already, wakes every waiter, and has no gap between looking and waiting.
_MARK_SECONDS = 60


@cache
def _redis(patience: float = _PATIENCE) -> "redis.Redis":
    return redis.Redis.from_url(settings.REDIS_URL, socket_connect_timeout=_PATIENCE, socket_timeout=patience)


def announce_ended(query_id: UUID) -> None:
    """Wake whoever waits for this query."""
    key = f"ended:{query_id}"
    try:
        with _redis().pipeline() as pipeline:
            pipeline.lpush(key, 1)
            pipeline.expire(key, _MARK_SECONDS)
            pipeline.execute()
    except redis.RedisError as error:
        logger.warning("Nobody could be told that query %s has ended (%s).", query_id, error)


def wait_until_ended(query_id: UUID, seconds: float) -> None:
    """Return when the query has ended, when `seconds` are over, or at once when Redis is away. The row tells which."""
    if seconds <= 0:  # to Redis that would mean: for ever
        return
    key = f"ended:{query_id}"
    try:
        _redis(ceil(seconds) + _PATIENCE).blmove(key, key, seconds)  # type: ignore[arg-type]  # Redis takes fractions of a second
    except redis.RedisError as error:
        logger.warning("Query %s cannot be waited for (%s).", query_id, error)
