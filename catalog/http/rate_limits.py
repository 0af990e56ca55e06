"""How often somebody may ask for something: counted in Redis, so that all web processes share one count.

The count and the decision are one script inside Redis, so of many requests at the same moment exactly as many pass as
may; what is left then is asked in the same message. A window moves: no minute, wherever it begins, holds more than the
rate of a minute. While Redis is away nothing is counted and everything passes.
"""

import logging
import math
import time
from dataclasses import dataclass
from functools import cache
from ipaddress import ip_address, ip_network
from typing import cast

import redis
from django.conf import settings
from django.http import HttpRequest
from limits import RateLimitItem, RateLimitItemPerSecond
from limits.storage import RedisStorage
from redis.backoff import NoBackoff
from redis.retry import Retry
from rest_framework.throttling import BaseThrottle

SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 24 * 3600}
PAUSE = 5.0  # seconds without counting after Redis failed: a Redis that hangs must not slow every request down
_PATIENCE = 1.0  # seconds for Redis to answer
UNKNOWN_IP = "0.0.0.0"  # noqa: S104 - a placeholder in counters and records; nothing is bound to it
_IPV6_PREFIX = 64  # bits; one connection owns a whole /64 and could use another address for each request

logger = logging.getLogger(__name__)


def client_ip(request: HttpRequest) -> str:
    """Return the client's IP address, trusting as many proxies as the setting NUM_PROXIES says.

    IPv6 addresses are reduced to their /64 network, IPv4-mapped ones to IPv4; `UNKNOWN_IP` when there is no valid one.
    """
    try:
        address = ip_address(BaseThrottle().get_ident(request) or "")  # type: ignore[arg-type]  # reads META alone
    except ValueError:
        return UNKNOWN_IP
    if address.version == 6:
        mapped = address.ipv4_mapped
        return str(mapped or ip_network((address.packed, _IPV6_PREFIX), strict=False).network_address)
    return str(address)


def rate_of(scope: str) -> tuple[int, int]:
    """So many in so many seconds, for a scope of the setting RATES."""
    number, _, span = settings.RATES[scope].partition("/")
    return int(number), SECONDS[span[0]]


@dataclass(frozen=True)
class Count:
    """What became of a request that was counted, or would have been: while Redis is away `left` is None."""

    scope: str
    passes: bool
    left: int | None = None
    seconds: int = 0  # until more is left

    @property
    def wait(self) -> int | None:
        """Seconds until it may be tried again; None if it passes."""
        return None if self.passes else self.seconds


def count(*, scope: str, who: str, cost: int = 1) -> Count:
    """Count a request of somebody.

    `cost` is what it weighs. One that weighs more than the whole rate passes when nothing else was asked for: it would
    be refused for ever otherwise.
    """
    number, seconds = rate_of(scope)
    return _counter().count(RateLimitItemPerSecond(number, seconds, namespace="rate"), scope, who, min(cost, number))


def spend(*, scope: str, who: str, cost: int = 1) -> int | None:
    """Count a request of somebody. None lets it pass; else it is refused, and a number of seconds is to be waited."""
    return count(scope=scope, who=who, cost=cost).wait


class Counter:
    """The counts, and whether Redis is worth asking."""

    def __init__(self) -> None:
        storage = RedisStorage(
            settings.REDIS_URL,
            socket_connect_timeout=_PATIENCE,
            socket_timeout=_PATIENCE,
            retry=Retry(NoBackoff(), 1),  # type: ignore[arg-type]  # once, for a connection that a restart cut
        )
        self.storage, self.redis = storage, cast("redis.Redis", storage.get_connection())
        self.scripts = (storage.lua_acquire_moving_window, storage.lua_moving_window)
        self.paused_until = 0.0

    def count(self, rate: RateLimitItem, scope: str, who: str, cost: int) -> Count:
        if time.monotonic() < self.paused_until:
            return Count(scope, passes=True)
        try:
            passes, oldest, used = self._ask(self.storage.prefixed_key(rate.key_for(scope, who)), rate, cost)
        except redis.RedisError as error:
            self.paused_until = time.monotonic() + PAUSE
            logger.warning("Requests are not counted for %d s, since Redis is away (%s).", PAUSE, error)
            return Count(scope, passes=True)
        free_in = max(1, math.ceil(oldest + rate.get_expiry() - time.time()))
        return Count(scope, passes, left=rate.amount - used, seconds=free_in)

    def _ask(self, key: str, rate: RateLimitItem, cost: int) -> tuple[bool, float, int]:
        """Whether the request passes, when the oldest that counts was there, and how many count."""
        try:
            return self._sent(key, rate, cost)
        except redis.exceptions.NoScriptError:  # a Redis that has just started
            for script in reversed(self.scripts):  # the one that counts last, so that nobody is counted in vain
                self.redis.script_load(script.script)
            return self._sent(key, rate, cost)

    def _sent(self, key: str, rate: RateLimitItem, cost: int) -> tuple[bool, float, int]:
        """Both scripts of `limits`, which runs one at a time, in one message."""
        now, seconds = time.time(), rate.get_expiry()
        acquire, look = (script.sha for script in self.scripts)
        with self.redis.pipeline(transaction=False) as pipeline:
            pipeline.evalsha(acquire, 1, key, now, rate.amount, seconds, cost)
            pipeline.evalsha(look, 1, key, now - seconds, rate.amount)
            acquired, window = pipeline.execute()
        oldest, used = window or (now, 0)
        return bool(acquired), float(oldest), int(used)


@cache
def _counter() -> Counter:
    return Counter()
