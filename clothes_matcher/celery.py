"""The Celery application: how messages travel. What they do is in the modules that a worker is told to `--include`."""

import os
from functools import cached_property
from typing import Any

from celery import Celery
from celery.fixups.django import DjangoFixup, DjangoWorkerFixup  # type: ignore[attr-defined]  # not in its stubs
from django.db import close_old_connections
from kombu import Exchange, Queue

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "clothes_matcher.settings")
# After a product of matrices numpy's other threads spin for a while, in case there is a next: a search of 2 ms took
# 35 ms of a core, and from others. Read when numpy is imported, so it has to be said before any worker does that.
os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")


class KeptConnections(DjangoWorkerFixup):  # type: ignore[misc]  # it has no types
    """Connections to the database as in a web process: kept for a while, and only while they work.

    Celery's own closes them before and after each task, and making one takes longer than most of what it is asked.
    """

    def close_database(self, **_: Any) -> None:
        close_old_connections()


class DjangoWithKeptConnections(DjangoFixup):
    """What makes Celery know Django, but for the connections."""

    @cached_property
    def worker_fixup(self) -> KeptConnections:
        return KeptConnections(self.app)


app = Celery("clothes_matcher", fixups=[lambda celery: DjangoWithKeptConnections(celery).install()])  # type: ignore[list-item]  # or a function
app.config_from_object("django.conf:settings", namespace="CELERY")
app.conf.task_queues = [Queue(name, Exchange(name), routing_key=name) for name in ("gpu", "cpu", "net", "train")]
