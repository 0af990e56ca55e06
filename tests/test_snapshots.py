"""What other programs rely on stays: API structure, error codes, database schema. See tests/helpers/snapshots.py."""

import pytest
from django.db import connection

from tests.helpers import snapshots


def test_the_api_differs_from_its_snapshot_in_descriptions_only() -> None:
    assert snapshots.api_structure() == snapshots.read("openapi")


def test_no_error_code_has_vanished() -> None:
    codes = set(snapshots.read("error_codes"))
    assert len(codes) > 50
    assert codes - snapshots.text_constants() == set()


def test_every_raised_error_code_is_in_the_snapshot() -> None:
    assert set(snapshots.raised_codes()) - set(snapshots.read("error_codes")) == set()


def test_the_stored_models_are_those_of_the_snapshot() -> None:
    assert snapshots.model_names() == snapshots.read("models")


@pytest.mark.django_db
def test_the_database_schema_is_that_of_the_snapshot() -> None:
    if connection.vendor != "sqlite":
        pytest.skip("The snapshot is SQLite's; column types have other names here.")
    assert snapshots.database_schema() == snapshots.read("database")
