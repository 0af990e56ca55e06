"""Celery application and its queues. Each worker imports its task modules by `--include` (Procfile)."""

import os
from functools import cached_property
from typing import Any

from celery import Celery
from celery.fixups.django import DjangoFixup, DjangoWorkerFixup  # type: ignore[attr-defined]  # not in its stubs
from django.db import close_old_connections
from kombu import Exchange, Queue

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "clothes_matcher.settings")
# OpenBLAS threads busy-wait after a matmul; without this a 2 ms search burns 35 ms of CPU. OpenBLAS reads the variable
# when numpy is imported, so it is set before any worker module.
os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")


class PersistentConnections(DjangoWorkerFixup):  # type: ignore[misc]  # Celery has no types
    """Keep database connections between tasks for `CONN_MAX_AGE`, as in a web process.

    Celery's fixup closes every connection before and after each task, and opening one takes longer than most statements
    of a task: with that fixup a query takes 38.7 ms instead of 31.2 (`benchmarks.end_to_end`). Relies on Celery
    internals: `DjangoWorkerFixup.close_database` is called around each task.
    """

    def close_database(self, **_: Any) -> None:
        close_old_connections()


class DjangoFixupWithPersistentConnections(DjangoFixup):
    """Celery's Django fixup with `PersistentConnections`. Relies on Celery internals: the property `worker_fixup`."""

    @cached_property
    def worker_fixup(self) -> PersistentConnections:
        return PersistentConnections(self.app)


app = Celery("clothes_matcher", fixups=[lambda celery: DjangoFixupWithPersistentConnections(celery).install()])  # type: ignore[list-item]  # Celery also accepts a function
app.config_from_object("django.conf:settings", namespace="CELERY")
app.conf.task_queues = [Queue(name, Exchange(name), routing_key=name) for name in ("gpu", "cpu", "net", "train")]
