from django.apps import AppConfig


class WorkerConfig(AppConfig):
    """Installed for its commands; `worker.tasks.search` and `ml` are loaded by the workers alone."""

    name = "worker"
