"""Rate limits per user or client IP, counted in Redis and shared by all web processes.

Counting and deciding are one Lua script inside Redis, so concurrent requests never exceed the limit; the remaining
quota is read in the same round trip. The window moves: no interval of the window's length, wherever it starts, holds
more requests than the limit. While Redis is unavailable nothing is counted and every request is allowed.
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
PAUSE = 5.0  # seconds without counting after Redis failed: a hanging Redis must not slow down every request
_TIMEOUT = 1.0  # seconds for Redis to answer
UNKNOWN_IP = "0.0.0.0"  # noqa: S104 - a placeholder in counters and records; nothing is bound to it
_IPV6_PREFIX = 64  # bits; one connection owns a whole /64 and could use another address for each request

logger = logging.getLogger(__name__)


def client_ip(request: HttpRequest) -> str:
    """Return the client's IP address, trusting `NUM_PROXIES` proxies (a setting).

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


def rate_limit(scope: str) -> tuple[int, int]:
    """Return the limit of a scope of the setting RATES: the number of requests and the window in seconds."""
    number, _, span = settings.RATES[scope].partition("/")
    return int(number), SECONDS[span[0]]


@dataclass(frozen=True)
class Quota:
    """The outcome of counting one request. `remaining` is None while Redis is unavailable."""

    scope: str
    is_allowed: bool
    remaining: int | None = None
    reset_seconds: int = 0  # until the oldest counted request leaves the window

    @property
    def retry_after(self) -> int | None:
        """Seconds until the request may be repeated; None if it is allowed."""
        return None if self.is_allowed else self.reset_seconds


def count_request(*, scope: str, client: str, cost: int = 1) -> Quota:
    """Count one request of `client`, such as `user:17`, against the limit of `scope`.

    `cost` is the number of units the request consumes. A cost above the whole limit is capped at the limit: otherwise
    the request would be refused forever.
    """
    number, seconds = rate_limit(scope)
    rate = RateLimitItemPerSecond(number, seconds, namespace="rate")
    return _redis_counter().count(rate, scope, client, min(cost, number))


class RedisCounter:
    """Moving-window counters in Redis, and a pause after Redis failed."""

    def __init__(self) -> None:
        storage = RedisStorage(
            settings.REDIS_URL,
            socket_connect_timeout=_TIMEOUT,
            socket_timeout=_TIMEOUT,
            retry=Retry(NoBackoff(), 1),  # type: ignore[arg-type]  # once, for a connection that a restart cut
        )
        self.storage, self.redis = storage, cast("redis.Redis", storage.get_connection())
        self.scripts = (storage.lua_acquire_moving_window, storage.lua_moving_window)
        self.paused_until = 0.0

    def count(self, rate: RateLimitItem, scope: str, client: str, cost: int) -> Quota:
        """Count a request, unless Redis failed less than `PAUSE` seconds ago. Allows the request without Redis."""
        if time.monotonic() < self.paused_until:
            return Quota(scope, is_allowed=True)
        try:
            is_allowed, oldest, used = self._acquire(self.storage.prefixed_key(rate.key_for(scope, client)), rate, cost)
        except redis.RedisError as error:
            self.paused_until = time.monotonic() + PAUSE
            logger.warning("Rate limits are off for %d s because Redis is unavailable (%s).", PAUSE, error)
            return Quota(scope, is_allowed=True)
        reset_seconds = max(1, math.ceil(oldest + rate.get_expiry() - time.time()))
        return Quota(scope, is_allowed, remaining=rate.amount - used, reset_seconds=reset_seconds)

    def _acquire(self, key: str, rate: RateLimitItem, cost: int) -> tuple[bool, float, int]:
        """Return whether the request is allowed, the time of the oldest counted request, and the number counted."""
        try:
            return self._run_scripts(key, rate, cost)
        except redis.exceptions.NoScriptError:  # Redis was restarted
            for script in reversed(self.scripts):  # the counting one last: if it is there, so is the other
                self.redis.script_load(script.script)
            return self._run_scripts(key, rate, cost)

    def _run_scripts(self, key: str, rate: RateLimitItem, cost: int) -> tuple[bool, float, int]:
        """Run both Lua scripts of `limits` in one round trip; the library itself takes two."""
        now, seconds = time.time(), rate.get_expiry()
        acquire_sha, window_sha = (script.sha for script in self.scripts)
        with self.redis.pipeline(transaction=False) as pipeline:
            pipeline.evalsha(acquire_sha, 1, key, now, rate.amount, seconds, cost)
            pipeline.evalsha(window_sha, 1, key, now - seconds, rate.amount)
            acquired, window = pipeline.execute()
        oldest, used = window or (now, 0)
        return bool(acquired), float(oldest), int(used)


@cache
def _redis_counter() -> RedisCounter:
    return RedisCounter()
