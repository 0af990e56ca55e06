"""Redis connections with short timeouts. Redis only speeds things up: its absence is logged and is not an error."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import redis
from django.conf import settings

TIMEOUT = 1.0  # seconds: a reachable Redis may hang, or the network may drop its replies

logger = logging.getLogger(__name__)


@cache
def redis_client(timeout: float = TIMEOUT) -> "redis.Redis":
    """The client of this process whose commands time out after `timeout` seconds."""
    return redis.Redis.from_url(settings.REDIS_URL, socket_connect_timeout=TIMEOUT, socket_timeout=timeout)


@contextmanager
def redis_errors_logged(message: str, *args: object) -> Iterator[None]:
    """Log a Redis error in the block as a warning, with `message % args`, and skip the rest of the block."""
    try:
        yield
    except redis.RedisError as error:
        logger.warning(f"{message} (%s).", *args, error)
