"""Django app of the demo package: registers its management commands."""

from django.apps import AppConfig


class DemoConfig(AppConfig):
    """Installed for its commands `demo` and `draw_sample`."""

    name = "demo"
