"""The user account."""

from django.contrib.auth.models import AbstractUser
from django.db import models
from django.db.models import Q
from django.db.models.functions import Lower


class User(AbstractUser):
    """A user account. A custom model from the first migration on, so that columns can be added."""

    may_train = models.BooleanField(default=False, help_text="Whether encoders may learn from this person's photos.")

    class Meta(AbstractUser.Meta):
        constraints = (models.UniqueConstraint(Lower("email"), condition=~Q(email=""), name="one_account_per_email"),)
