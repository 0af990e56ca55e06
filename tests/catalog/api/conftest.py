"""The OpenAPI schema, generated once."""

from typing import Any

import pytest

from tests.helpers.api_schema import generate_schema


@pytest.fixture(scope="session")
def schema() -> dict[str, Any]:
    return generate_schema()
