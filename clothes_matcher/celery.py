"""The Celery application: how messages travel. What they do is in the modules that a worker is told to `--include`."""

import os

from celery import Celery
from kombu import Exchange, Queue

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "clothes_matcher.settings")

app = Celery("clothes_matcher")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.conf.task_queues = [Queue(name, Exchange(name), routing_key=name) for name in ("gpu", "cpu", "net", "train")]
