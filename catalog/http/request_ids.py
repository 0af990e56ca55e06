"""Request ID of the current request: in response headers, error bodies and log lines.

A context variable, so that log calls need not pass it along. The packages for this put any header value into the log,
line breaks included, or accept only UUIDs.
"""

import logging
import re
import uuid
from contextvars import ContextVar

HEADER = "X-Request-ID"
NONE = "-"  # outside of a request: in workers and commands
_SAFE_ID = re.compile(r"[A-Za-z0-9._:+/=@~-]{1,128}")

_current: ContextVar[str] = ContextVar("request_id", default=NONE)


def begin_request(offered: str) -> str:
    """Set and return the ID of the request that this thread starts: the client's or proxy's own, if it is safe to log.

    It stays set until the next request, since Django logs a failed request after the last middleware has returned.
    """
    name = offered if _SAFE_ID.fullmatch(offered) else uuid.uuid4().hex
    _current.set(name)
    return name


def request_id() -> str:
    """Return the ID of the current request; `-` outside of one."""
    return _current.get()


class RequestIdFilter(logging.Filter):
    """Add `request_id` to every log record."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Set the attribute; no record is dropped."""
        record.request_id = request_id()
        return True
