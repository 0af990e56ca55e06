"""The name of the request that is being answered: in its answer, in its errors and in the lines of the log.

It belongs to the thread that answers, so what is logged needs not be told. The packages for this take whatever name a
client sends into the log, line breaks and all, or none but a UUID.
"""

import logging
import re
import uuid
from contextvars import ContextVar

HEADER = "X-Request-ID"
NONE = "-"  # outside of a request: in workers and commands
_HARMLESS = re.compile(r"[A-Za-z0-9._:+/=@~-]{1,128}")

_current: ContextVar[str] = ContextVar("request_id", default=NONE)


def begin_request(offered: str) -> str:
    """Name the request that begins in this thread: as its client or a proxy calls it, if that is harmless.

    The name stays until the next request, since Django logs a failed one after the last middleware is done with it.
    """
    name = offered if _HARMLESS.fullmatch(offered) else uuid.uuid4().hex
    _current.set(name)
    return name


def request_id() -> str:
    return _current.get()


class RequestIdFilter(logging.Filter):
    """Adds `request_id` to every line of the log."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.request_id = request_id()
        return True
