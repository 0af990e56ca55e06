"""Django app configuration of the catalogue."""

from django.apps import AppConfig


class CatalogConfig(AppConfig):
    """The app `catalog`."""

    name = "catalog"
    verbose_name = "Catalogue"
