"""Django app of the worker package: registers its management commands."""

from django.apps import AppConfig


class WorkerConfig(AppConfig):
    """Installed for its commands. Only worker processes load `worker.tasks` and the networks of `ml`."""

    name = "worker"
