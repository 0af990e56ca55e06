"""How often somebody may ask for something: counted in Redis, so that all web processes share one count.

The count and the decision are one script inside Redis, so of many requests at the same moment exactly as many pass as
may. A window moves: no minute, wherever it begins, holds more than the rate of a minute. While Redis is away nothing
is counted and everything passes.
"""

import logging
import math
import time
from functools import cache

import redis
from django.conf import settings
from limits import RateLimitItem, RateLimitItemPerSecond
from limits.storage import RedisStorage
from limits.strategies import MovingWindowRateLimiter
from redis.backoff import NoBackoff
from redis.retry import Retry

SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 24 * 3600}
PAUSE = 5.0  # seconds without counting after Redis failed: a Redis that hangs must not slow every request down
_PATIENCE = 1.0  # seconds for Redis to answer

logger = logging.getLogger(__name__)


def rate_of(scope: str) -> tuple[int, int]:
    """So many in so many seconds, for a scope of the setting RATES."""
    number, _, span = settings.RATES[scope].partition("/")
    return int(number), SECONDS[span[0]]


def spend(*, scope: str, who: str, cost: int = 1) -> int | None:
    """Count a request of somebody. None lets it pass; else it is refused, and a number of seconds is to be waited.

    `cost` is what it weighs. One that weighs more than the whole rate passes when nothing else was asked for: it would
    be refused for ever otherwise.
    """
    number, seconds = rate_of(scope)
    return _counter().spend(RateLimitItemPerSecond(number, seconds, namespace="rate"), scope, who, min(cost, number))


class Counter:
    """The counts, and whether Redis is worth asking."""

    def __init__(self) -> None:
        storage = RedisStorage(
            settings.REDIS_URL,
            socket_connect_timeout=_PATIENCE,
            socket_timeout=_PATIENCE,
            retry=Retry(NoBackoff(), 1),  # type: ignore[arg-type]  # once, for a connection that a restart cut
        )
        self.limiter = MovingWindowRateLimiter(storage)
        self.paused_until = 0.0

    def spend(self, rate: RateLimitItem, scope: str, who: str, cost: int) -> int | None:
        if time.monotonic() < self.paused_until:
            return None
        try:
            if self.limiter.hit(rate, scope, who, cost=cost):
                return None
            free_at = self.limiter.get_window_stats(rate, scope, who).reset_time
        except redis.RedisError as error:
            self.paused_until = time.monotonic() + PAUSE
            logger.warning("Requests are not counted for %d s, since Redis is away (%s).", PAUSE, error)
            return None
        return max(1, math.ceil(free_at - time.time()))


@cache
def _counter() -> Counter:
    return Counter()
