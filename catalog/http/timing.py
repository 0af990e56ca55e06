"""Request timing: milliseconds since the request headers arrived."""

import time

from django.http import HttpRequest

STARTED = "catalog.started"  # key in request.META; no HTTP header can produce this name


def ms_since_start(request: HttpRequest) -> float:
    """Milliseconds since the headers arrived. Called after the body is read: the upload time."""
    started: float = request.META[STARTED]
    return (time.perf_counter() - started) * 1000
