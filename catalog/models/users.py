from django.contrib.auth.models import AbstractUser
from django.db import models
from django.db.models import Q
from django.db.models.functions import Lower


class User(AbstractUser):
    """Someone with an account. Our own from the first migration, so that it can grow."""

    may_train = models.BooleanField(default=False, help_text="Whether encoders may learn from this person's photos.")

    class Meta(AbstractUser.Meta):
        constraints = (models.UniqueConstraint(Lower("email"), condition=~Q(email=""), name="one_account_per_email"),)
