"""gunicorn's configuration: threads, since a request mostly waits (for the disk, the database, an answer)."""

import os

limit_request_line = 8190  # the longest; gunicorn answers longer ones with a page of its own
bind = f"{os.environ.get('HOST', '127.0.0.1')}:{os.environ.get('PORT', '8000')}"
worker_class = "gthread"
workers = int(os.environ.get("WEB_WORKERS", "2"))
threads = int(os.environ.get("WEB_THREADS", "16"))
timeout = 60
graceful_timeout = 10
max_requests = 10_000  # a worker is replaced now and then, so that a slow leak never matters
max_requests_jitter = 1_000
accesslog = None
# The heartbeat file of a worker must not wait for a disk.
worker_tmp_dir = "/dev/shm" if os.path.isdir("/dev/shm") else None  # noqa: S108, PTH112
