"""The one place that speaks to Redis: sending tasks by name, and waiting for an answer.

Rows are the truth and a message is only a nudge that carries one id. When Redis is away nothing here fails: the
sweep sends the message again, and whoever waits asks again. The modules of `worker` have the functions
behind the names; they are never imported here, so a process that sends a task does not load the networks.
"""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from math import ceil
from types import TracebackType
from uuid import UUID

import redis
from celery import current_app, signature
from django.conf import settings
from django.db import transaction
from kombu import Connection
from kombu.exceptions import OperationalError
from kombu.pools import producers

FETCH_PHOTO = "worker.fetch_photo"
SEND_WEBHOOK = "worker.send_webhook"
EMBED_QUERY = "worker.embed_query"
SEARCH_QUERY = "worker.search_query"
EMBED_CATALOG = "worker.embed_catalog"
TRAIN = "worker.train"
EVALUATE = "worker.evaluate"
SENT_TASKS = (FETCH_PHOTO, SEND_WEBHOOK, EMBED_QUERY, SEARCH_QUERY, EMBED_CATALOG, TRAIN, EVALUATE)

URGENT, PATIENT = 0, 9  # a person waits; nobody does

logger = logging.getLogger(__name__)


def send_fetch_photo(query_id: UUID) -> None:
    """Have the photo of a query fetched from its address, once the current transaction is committed."""
    _send_after_commit(FETCH_PHOTO, query_id, queue="net", priority=URGENT)


def send_webhook(delivery_id: int) -> None:
    """Have an address told that its query has ended, once the current transaction is committed."""
    _send_after_commit(SEND_WEBHOOK, delivery_id, queue="net", priority=URGENT)


def send_embed_query(query_id: UUID) -> None:
    """Have the photo of a queued query embedded, once the current transaction is committed."""
    _send_after_commit(EMBED_QUERY, query_id, queue="gpu", priority=URGENT)


def send_search_query(query_id: UUID) -> None:
    """Have an embedded query answered, once the current transaction is committed."""
    _send_after_commit(SEARCH_QUERY, query_id, queue="cpu", priority=URGENT)


def send_embed_catalog(encoder_id: int) -> None:
    """Have the photos embedded that an encoder has not seen yet, once the current transaction is committed.

    Nothing is sent while such a message waits. Each sends for the next, so two would go round for as long as there is
    work, and a person's photo would wait for both.
    """
    transaction.on_commit(partial(_send_embed_catalog, encoder_id))


def embed_catalog_begins(encoder_id: int) -> None:
    """The message has come; another may be sent from now on."""
    with _only_warned("The queue cannot be told that encoder %s is at work", encoder_id):
        _redis().delete(_waits(encoder_id))


def send_train(run_id: int) -> None:
    """Have a queued training run made, once the current transaction is committed."""
    _send_after_commit(TRAIN, run_id, queue="train", priority=PATIENT)


def send_evaluate(evaluation_id: int) -> None:
    """Have a queued evaluation made, once the current transaction is committed."""
    _send_after_commit(EVALUATE, evaluation_id, queue="train", priority=URGENT)


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


def load() -> None:
    """Have in memory what sending needs, but connect to nothing: a process that will be forked does this."""
    current_app.finalize()
    for needed in (current_app.backend, current_app.amqp.router, current_app.Task):
        assert needed is not None  # noqa: S101 - asking makes it


def _send(name: str, row_id: UUID | int, *, queue: str, priority: int) -> None:
    task = signature(name, args=(str(row_id),))
    try:
        with producers[_sender()].acquire(block=True) as producer:
            task.apply_async(queue=queue, priority=priority, producer=producer, retry=True, retry_policy=_IMPATIENCE)
    except (OperationalError, redis.RedisError, OSError) as error:
        logger.warning("The queue cannot be reached (%s); the sweep will send %s %s again.", error, name, row_id)


_LOST_AFTER = 10  # seconds in which a message is taken, unless it is lost or there is much to do


def _send_embed_catalog(encoder_id: int) -> None:
    with _only_warned("The queue cannot be asked what waits for encoder %s", encoder_id):
        if _redis().set(_waits(encoder_id), 1, nx=True, ex=_LOST_AFTER):
            _send(EMBED_CATALOG, encoder_id, queue="gpu", priority=PATIENT)


def _waits(encoder_id: int) -> str:
    return f"embed-catalog-waits:{encoder_id}"


@contextmanager
def _only_warned(sentence: str, *about: object) -> Iterator[None]:
    """Where Redis is away, what is in the block is not done, and the log says so."""
    try:
        yield
    except redis.RedisError as error:
        logger.warning(f"{sentence} (%s).", *about, error)


# An ended query leaves a mark in a list of its own. Waiting is a blocking move from that list to itself: it returns
# at once if the mark is there already, wakes every waiter, and has no gap between looking and waiting.
_MARK_SECONDS = 60


@cache
def _redis(patience: float = _PATIENCE) -> "redis.Redis":
    return redis.Redis.from_url(settings.REDIS_URL, socket_connect_timeout=_PATIENCE, socket_timeout=patience)


def announce_ended(query_id: UUID) -> None:
    """Wake whoever waits for this query, or follows it."""
    key = f"ended:{query_id}"
    with _only_warned("Nobody could be told that query %s has ended", query_id), _redis().pipeline() as pipeline:
        pipeline.lpush(key, 1)
        pipeline.expire(key, _MARK_SECONDS)
        pipeline.publish(_channel(query_id), "")
        pipeline.execute()


def wait_until_ended(query_id: UUID, seconds: float) -> None:
    """Return when the query has ended, when `seconds` are over, or at once when Redis is away. The row tells which."""
    if seconds <= 0:  # to Redis that would mean: for ever
        return
    key = f"ended:{query_id}"
    with _only_warned("Query %s cannot be waited for", query_id):
        _redis(ceil(seconds) + _PATIENCE).blmove(key, key, seconds)  # type: ignore[arg-type]  # fractions are taken


def announce_change(query_id: UUID) -> None:
    """Tell whoever follows this query that its state has changed; the row tells to which."""
    with _only_warned("Nobody could be told that query %s has changed", query_id):
        _redis().publish(_channel(query_id), "")


def _channel(query_id: UUID) -> str:
    return f"changed:{query_id}"


class Following:
    """The changes of one query, from the moment on at which the `with` block begins.

    Whoever reads the row inside of the block, and then waits, misses nothing. While Redis is away a wait is a second
    at most, so that the row is read often enough without it.
    """

    def __init__(self, query_id: UUID) -> None:
        self._query_id = query_id
        self._changes = _redis().pubsub()  # type: ignore[no-untyped-call]
        self._away = False

    def __enter__(self) -> "Following":
        self._tolerantly(self._subscribe)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._changes.close()

    def wait(self, seconds: float) -> None:
        """Return at the next change, or when `seconds` are over; now and then for no reason."""
        if self._away:
            time.sleep(min(seconds, _PATIENCE))
        else:
            self._tolerantly(partial(self._changes.get_message, timeout=seconds))

    def _subscribe(self) -> None:
        self._changes.subscribe(_channel(self._query_id))
        self._changes.get_message(timeout=_PATIENCE)  # its confirmation: only now a change would reach us

    def _tolerantly(self, ask: Callable[[], object]) -> None:
        try:
            ask()
        except redis.RedisError as error:
            logger.warning("Query %s is followed without Redis (%s).", self._query_id, error)
            self._away = True
