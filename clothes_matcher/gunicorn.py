"""gunicorn's configuration: threads, since a request mostly waits (for the disk, the database, an answer)."""

import gc
import os
from typing import Any

limit_request_line = 8190  # the longest; gunicorn answers longer ones with a page of its own
bind = f"{os.environ.get('HOST', '127.0.0.1')}:{os.environ.get('PORT', '8000')}"
worker_class = "gthread"
workers = int(os.environ.get("WEB_WORKERS", "2"))
threads = int(os.environ.get("WEB_THREADS", "16"))
preload_app = True  # loaded once, before the workers are forked: they share its memory, and a new one is there at once
timeout = 60
graceful_timeout = 10
max_requests = 10_000  # a worker is replaced now and then, so that a slow leak never matters
max_requests_jitter = 1_000
accesslog = None
# The heartbeat file of a worker must not wait for a disk.
worker_tmp_dir = "/dev/shm" if os.path.isdir("/dev/shm") else None  # noqa: S108, PTH112


def when_ready(server: Any) -> None:
    """Load all that the first request would wait for before the first fork: views, decoders, what sends tasks.

    What is there by then stays: looking through it for garbage would take a tenth of a second, and each worker would
    get a copy of its own of the memory that it shares.
    """
    from django.urls import get_resolver
    from django.utils.module_loading import import_string
    from PIL import Image

    get_resolver().reverse_dict  # noqa: B018 - asking makes it
    Image.init()
    import_string("catalog.tasks.preload")()
    gc.collect()
    gc.freeze()


def post_worker_init(worker: Any) -> None:
    """Go the way of a query once, in one of the threads that will answer requests.

    A storage or database that hangs is not waited for: the master would take this for a worker that hangs.
    """
    from concurrent.futures import wait
    from importlib import import_module

    from django.apps import apps

    if apps.is_installed("catalog"):  # benchmarks put another site under this configuration
        warmup = import_module("catalog.warmup")
        wait([worker.tpool.submit(warmup.warm_up_requests, worker.wsgi)], timeout=warmup.TIMEOUT)
