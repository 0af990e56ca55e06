"""Fixtures that every test may use. Tests write only below pytest's temporary folder."""

import os
import tempfile
from pathlib import Path

# Before Django reads its settings: nothing of a test may touch the var/ folder of a site, nor its Redis.
os.environ["VAR_DIR"] = tempfile.mkdtemp(prefix="cm-tests-")
os.environ["REDIS_URL"] = "redis://127.0.0.1:1/0"  # nobody listens: a test that needs Redis starts one
os.environ["SECRET_KEY"] = "only for tests"

import pytest
from pytest_django import Settings


@pytest.fixture(autouse=True)
def media(tmp_path: Path, settings: Settings) -> Path:
    """Each test has a folder of photos of its own."""
    settings.MEDIA_ROOT = tmp_path / "media"
    return tmp_path / "media"


@pytest.fixture(autouse=True)
def plain_static_files(settings: Settings) -> None:
    """Pages render without a collectstatic before them."""
    settings.STORAGES = {
        **settings.STORAGES,
        "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
    }
