from django.apps import AppConfig


class WorkerConfig(AppConfig):
    """Installed for its commands; `worker.tasks` and `ml` are loaded by the workers alone."""

    name = "worker"
