"""Django project: settings, URLs and the Celery application."""

# Imported here so that every process that starts Django sends its tasks through this application.
from clothes_matcher.celery import app

__all__ = ["app"]
