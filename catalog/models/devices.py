"""The device that an API token was issued for, and the token's scope."""

from django.db import models
from knox.models import AuthToken


class Scope(models.TextChoices):
    """What a token allows, within the permissions of its user."""

    USER = "user"  # an app: the user's own photos, queries, favourites and account
    STAFF = "staff"  # also staff endpoints; the user must be staff
    SERVICE = "service"  # a program of the site's owner: queries and reads the catalogue, no access to the account


class Device(models.Model):
    """Name, scope and last use of an API token; deleted together with the token."""

    token = models.OneToOneField(AuthToken, on_delete=models.CASCADE, related_name="device")
    name = models.CharField(max_length=100, blank=True, help_text="As the person or the app calls it.")
    scope = models.CharField(max_length=10, choices=Scope, default=Scope.USER)
    last_seen_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("-token__created",)

    def __str__(self) -> str:
        return self.name or "a device"
