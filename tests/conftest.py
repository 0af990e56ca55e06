"""Fixtures that every test may use. Tests write only to temporary folders, see tests/settings.py."""

import os
import shutil
from pathlib import Path

import pytest
from pytest_django import Settings


@pytest.fixture(autouse=True)
def media(tmp_path: Path, settings: Settings) -> Path:
    """Each test has a folder of photos of its own."""
    settings.MEDIA_ROOT = tmp_path / "media"
    return tmp_path / "media"


def pytest_sessionfinish() -> None:
    shutil.rmtree(os.environ["VAR_DIR"], ignore_errors=True)
