"""Send Celery tasks by name, after the current transaction is committed.

Rows are the source of truth; a message carries one id and may be lost or delivered twice. When Redis is unreachable,
sending logs a warning and the sweep sends the message again. The task functions live in `worker` and are never imported
here, so that a process that sends a task does not load the networks.
"""

import logging
from functools import cache, partial
from uuid import UUID

import redis
from celery import current_app, signature
from django.db import transaction
from kombu import Connection
from kombu.exceptions import OperationalError
from kombu.pools import producers

from catalog.redis_client import TIMEOUT, redis_client, redis_errors_logged

FETCH_PHOTO = "worker.fetch_photo"
SEND_WEBHOOK = "worker.send_webhook"
EMBED_QUERY = "worker.embed_query"
SEARCH_QUERY = "worker.search_query"
EMBED_CATALOG = "worker.embed_catalog"
TRAIN = "worker.train"
EVALUATE = "worker.evaluate"
SENT_TASKS = (FETCH_PHOTO, SEND_WEBHOOK, EMBED_QUERY, SEARCH_QUERY, EMBED_CATALOG, TRAIN, EVALUATE)

INTERACTIVE, BACKGROUND = 0, 9  # message priorities: a person waits for the first

logger = logging.getLogger(__name__)


def send_fetch_photo(query_id: UUID) -> None:
    """Send, after commit: download the photo of a query from its URL."""
    _send_after_commit(FETCH_PHOTO, query_id, queue="net", priority=INTERACTIVE)


def send_webhook(delivery_id: int) -> None:
    """Send, after commit: deliver a webhook."""
    _send_after_commit(SEND_WEBHOOK, delivery_id, queue="net", priority=INTERACTIVE)


def send_embed_query(query_id: UUID) -> None:
    """Send, after commit: embed the photo of a queued query."""
    _send_after_commit(EMBED_QUERY, query_id, queue="gpu", priority=INTERACTIVE)


def send_search_query(query_id: UUID) -> None:
    """Send, after commit: search the index for an embedded query."""
    _send_after_commit(SEARCH_QUERY, query_id, queue="cpu", priority=INTERACTIVE)


def send_embed_catalog(encoder_id: int) -> None:
    """Send, after commit: embed the catalogue photos that the encoder has not embedded yet.

    At most one such message per encoder waits in the queue. Each task sends the next one, so two messages would
    circulate until all photos are embedded, and a user's query would wait for both.
    """
    transaction.on_commit(partial(_send_embed_catalog, encoder_id))


def embed_catalog_started(encoder_id: int) -> None:
    """Record that a worker took the message, so that the next one may be sent."""
    with redis_errors_logged("The embed-catalog message of encoder %s cannot be marked as taken", encoder_id):
        redis_client().delete(_waiting_key(encoder_id))


def send_train(run_id: int) -> None:
    """Send, after commit: execute a queued training run."""
    _send_after_commit(TRAIN, run_id, queue="train", priority=BACKGROUND)


def send_evaluate(evaluation_id: int) -> None:
    """Send, after commit: execute a queued evaluation."""
    _send_after_commit(EVALUATE, evaluation_id, queue="train", priority=INTERACTIVE)


def _send_after_commit(name: str, row_id: UUID | int, *, queue: str, priority: int) -> None:
    transaction.on_commit(partial(_send, name, row_id, queue=queue, priority=priority))


# A sender gives up quickly when Redis is unreachable. A worker, which shares the settings, retries for ever.
_RETRY_POLICY = {"max_retries": 1, "interval_start": 0, "interval_step": 0.1, "interval_max": 0.1}


@cache
def _send_connection() -> Connection:
    connection = current_app.connection_for_write()
    options = {**(connection.transport_options or {}), **_RETRY_POLICY, "socket_timeout": TIMEOUT}
    connection.transport_options = options
    return connection


def preload() -> None:
    """Load the code that sends messages, without connecting to Redis, so that forked processes share the memory."""
    current_app.finalize()
    for lazy_attribute in (current_app.backend, current_app.amqp.router, current_app.Task):
        assert lazy_attribute is not None  # noqa: S101 - reading the attribute creates it


def _send(name: str, row_id: UUID | int, *, queue: str, priority: int) -> None:
    task = signature(name, args=(str(row_id),))
    try:
        with producers[_send_connection()].acquire(block=True) as producer:
            task.apply_async(queue=queue, priority=priority, producer=producer, retry=True, retry_policy=_RETRY_POLICY)
    except (OperationalError, redis.RedisError, OSError) as error:
        logger.warning("The queue cannot be reached (%s); the sweep will send %s %s again.", error, name, row_id)


_LOST_AFTER = 10  # seconds until a message that no worker took counts as lost


def _send_embed_catalog(encoder_id: int) -> None:
    with redis_errors_logged("The queue cannot be checked for an embed-catalog message of encoder %s", encoder_id):
        if redis_client().set(_waiting_key(encoder_id), 1, nx=True, ex=_LOST_AFTER):
            _send(EMBED_CATALOG, encoder_id, queue="gpu", priority=BACKGROUND)


def _waiting_key(encoder_id: int) -> str:
    return f"embed-catalog-waits:{encoder_id}"
