from django.db import models
from knox.models import AuthToken


class Scope(models.TextChoices):
    """What a token is good for, whatever else its person may do."""

    USER = "user"  # a phone: the person's own photos, queries, favourites and account
    STAFF = "staff"  # also what only staff may do; the person must be staff
    SERVICE = "service"  # a program of the site's owner: asks and reads the catalogue, touches no account


class Device(models.Model):
    """What is known of a token: which device it was made for, and what it may do. Both go together."""

    token = models.OneToOneField(AuthToken, on_delete=models.CASCADE, related_name="device")
    name = models.CharField(max_length=100, blank=True, help_text="As the person or the app calls it.")
    scope = models.CharField(max_length=10, choices=Scope, default=Scope.USER)
    last_seen_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("-token__created",)

    def __str__(self) -> str:
        return self.name or "a device"
