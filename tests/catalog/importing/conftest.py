"""Fixture of the import tests: an empty shop folder."""

from pathlib import Path

import pytest

from tests.helpers.shop import Shop


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path / "shop")
