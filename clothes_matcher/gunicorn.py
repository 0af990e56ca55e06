"""gunicorn configuration: threads, since requests mostly wait for the disk, the database or a worker."""

import gc
import os
from typing import Any

limit_request_line = 8190  # the maximum; gunicorn answers longer ones itself
bind = f"{os.environ.get('HOST', '127.0.0.1')}:{os.environ.get('PORT', '8000')}"
worker_class = "gthread"
workers = int(os.environ.get("WEB_WORKERS", "2"))
threads = int(os.environ.get("WEB_THREADS", "16"))
preload_app = True  # loaded before the fork: workers share memory and start at once
timeout = 60
graceful_timeout = 10
max_requests = 10_000  # then a worker is replaced, so that a slow memory leak does no harm
max_requests_jitter = 1_000
accesslog = None
# The heartbeat file of a worker must not wait for a disk: /dev/shm is in memory.
worker_tmp_dir = "/dev/shm" if os.path.isdir("/dev/shm") else None  # noqa: S108, PTH112


def when_ready(server: Any) -> None:
    """Load views, image decoders and the task sender before the first fork: otherwise the first request would.

    The loaded objects are frozen: scanning them for garbage would take a tenth of a second, and would copy the shared
    memory into each worker.
    """
    from django.urls import get_resolver
    from django.utils.module_loading import import_string
    from PIL import Image

    get_resolver().reverse_dict  # noqa: B018 - builds the cache
    Image.init()
    import_string("catalog.tasks.preload")()
    gc.collect()
    gc.freeze()


def post_worker_init(worker: Any) -> None:
    """Run a rehearsal query in one of the threads that will answer requests.

    Gives up on a storage or database that hangs: the master process would kill this worker as hanging.
    """
    from concurrent.futures import wait
    from importlib import import_module

    from django.apps import apps

    if apps.is_installed("catalog"):  # not in benchmarks, which serve another site with this file
        warmup = import_module("catalog.warmup")
        wait([worker.tpool.submit(warmup.warm_up_requests, worker.wsgi)], timeout=warmup.TIMEOUT)
