"""The Celery application: how messages travel. What they do is in the modules that a worker is told to `--include`."""

import os

from celery import Celery
from kombu import Exchange, Queue

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "clothes_matcher.settings")
# After a product of matrices numpy's other threads spin for a while, in case there is a next: a search of 2 ms took
# 35 ms of a core, and from others. Read when numpy is imported, so it has to be said before any worker does that.
os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")

app = Celery("clothes_matcher")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.conf.task_queues = [Queue(name, Exchange(name), routing_key=name) for name in ("gpu", "cpu", "net", "train")]
