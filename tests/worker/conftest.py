from pathlib import Path

import pytest
from pytest_django import Settings

from worker.encoders import embedding
from worker.index import registry


@pytest.fixture(autouse=True)
def no_index_from_elsewhere(tmp_path: Path, settings: Settings) -> None:
    """Each test's rows are rolled back, so that the next one's encoder has the same id."""
    registry._indexes.clear()
    embedding._next_full_check.clear()
    settings.INDEX_DIR = tmp_path / "index"
