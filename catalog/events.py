"""Wait for a query to end, and follow its state changes, through Redis.

The row holds the state; an event only means "read the row again". When Redis is unreachable, nothing fails: announcing
logs a warning, waiting returns at once, and a subscription returns every second.
"""

import logging
import time
from collections.abc import Callable
from functools import partial
from math import ceil
from types import TracebackType
from uuid import UUID

import redis

from catalog.redis_client import TIMEOUT, redis_client, redis_errors_logged

# The end of a query adds an element to a list named after its id. Waiting is a blocking move from that list to itself:
# it returns at once if the element is there already, wakes every waiter, and has no gap between a check and the wait.
_ENDED_TTL = 60  # seconds

logger = logging.getLogger(__name__)


def announce_ended(query_id: UUID) -> None:
    """Wake the waiters and the subscribers of a query that has ended."""
    key = _ended_key(query_id)
    with (
        redis_errors_logged("The end of query %s cannot be announced", query_id),
        redis_client().pipeline() as pipeline,
    ):
        pipeline.lpush(key, 1)
        pipeline.expire(key, _ENDED_TTL)
        pipeline.publish(_channel(query_id), "")
        pipeline.execute()


def wait_until_ended(query_id: UUID, seconds: float) -> None:
    """Return when the query has ended, after `seconds`, or at once without Redis. Read the row to know which."""
    if seconds <= 0:  # Redis would take 0 as "wait for ever"
        return
    key = _ended_key(query_id)
    with redis_errors_logged("Query %s cannot be waited for", query_id):
        redis_client(ceil(seconds) + TIMEOUT).blmove(key, key, seconds)  # type: ignore[arg-type]  # Redis takes fractions


def announce_change(query_id: UUID) -> None:
    """Wake the subscribers of a query whose state has changed."""
    with redis_errors_logged("A change of query %s cannot be announced", query_id):
        redis_client().publish(_channel(query_id), "")


def _ended_key(query_id: UUID) -> str:
    return f"ended:{query_id}"


def _channel(query_id: UUID) -> str:
    return f"changed:{query_id}"


class QuerySubscription:
    """Context manager that waits for the state changes of one query.

    The subscription starts with the `with` block: a caller that reads the row inside the block and then waits misses no
    change. Without Redis, `wait` sleeps for at most a second, so that the caller polls the row.
    """

    def __init__(self, query_id: UUID) -> None:
        self._query_id = query_id
        self._pubsub = redis_client().pubsub()  # type: ignore[no-untyped-call]
        self._is_disconnected = False

    def __enter__(self) -> "QuerySubscription":
        self._call_redis(self._subscribe)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pubsub.close()

    def wait(self, seconds: float) -> None:
        """Return at the next change or when `seconds` are over. It may also return early without a change."""
        if self._is_disconnected:
            time.sleep(min(seconds, TIMEOUT))
        else:
            self._call_redis(partial(self._pubsub.get_message, timeout=seconds))

    def _subscribe(self) -> None:
        self._pubsub.subscribe(_channel(self._query_id))
        self._pubsub.get_message(timeout=TIMEOUT)  # the confirmation: from here on, changes are received

    def _call_redis(self, call: Callable[[], object]) -> None:
        try:
            call()
        except redis.RedisError as error:
            logger.warning("Query %s is polled: Redis cannot be reached (%s).", self._query_id, error)
            self._is_disconnected = True
