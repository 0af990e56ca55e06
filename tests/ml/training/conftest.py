"""Whole runs that several tests read. Every module trains the tiny backbone unless it sets REAL_BACKBONE = True."""

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest

from ml.data.manifest import Manifest
from tests.helpers.tiny_backbone import tiny_backbone
from tests.helpers.tiny_training import FinishedRun, classifier_options, finish_run, metric_options


@pytest.fixture(scope="module", autouse=True)
def backbone(request: pytest.FixtureRequest) -> Iterator[None]:
    """Replace EfficientNet-Lite by a backbone whose training takes a second."""
    with nullcontext() if getattr(request.module, "REAL_BACKBONE", False) else tiny_backbone():
        yield


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Cached views of runs with the options of `TINY`; a test that changes what they depend on uses its own folder."""
    return tmp_path_factory.mktemp("views")


@pytest.fixture(scope="session")
def metric_run(manifest: Manifest, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    with tiny_backbone():
        return finish_run(manifest, metric_options(), tmp_path_factory.mktemp("metric"), cache=cache, pictures=True)


@pytest.fixture(scope="session")
def classifier_run(manifest: Manifest, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    with tiny_backbone():
        folder = tmp_path_factory.mktemp("classifier")
        return finish_run(manifest, classifier_options(), folder, cache=cache, pictures=True)
