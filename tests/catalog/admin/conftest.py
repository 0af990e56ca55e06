"""Fixtures of the admin tests: a superuser, and a client that is signed in as the superuser."""

import pytest
from django.test import Client

from catalog.models import User
from tests.helpers.factories import make_user


@pytest.fixture
def boss(db: None) -> User:
    return make_user("boss", is_staff=True, is_superuser=True)


@pytest.fixture
def staff(client: Client, boss: User) -> Client:
    client.force_login(boss)
    return client
