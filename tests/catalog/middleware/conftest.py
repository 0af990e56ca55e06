"""The API's fixtures: a person with a device."""

from tests.catalog.api.conftest import device, me

__all__ = ["device", "me"]
