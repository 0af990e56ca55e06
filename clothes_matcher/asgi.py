"""ASGI entry point. gunicorn with threads is faster for this site (see docs/architecture.md)."""

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "clothes_matcher.settings")
application = get_asgi_application()
