"""Whole runs that several tests read. Every module trains the tiny trunk unless it sets REAL_BACKBONE = True."""

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import pytest

from ml.data.manifest import Manifest
from ml.encoder.card import Card
from ml.training.run import train_and_publish
from tests.helpers.tiny_backbone import tiny_backbone
from tests.helpers.tiny_training import Options, RecordingWatcher, classifier_options, job, metric_options


@dataclass(frozen=True)
class FinishedRun:
    """A successful run: its encoder folder, run folder and card, and the watcher that recorded it."""

    out: Path
    run: Path
    card: Card
    watcher: RecordingWatcher


@pytest.fixture(scope="module", autouse=True)
def backbone(request: pytest.FixtureRequest) -> Iterator[None]:
    """Replace EfficientNet-Lite by a trunk whose training takes a second."""
    with nullcontext() if getattr(request.module, "REAL_BACKBONE", False) else tiny_backbone():
        yield


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Cached views of runs with the options of `TINY`; a test that changes what they depend on uses its own folder."""
    return tmp_path_factory.mktemp("views")


@pytest.fixture(scope="session")
def metric_run(manifest: Manifest, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    with tiny_backbone():
        return finish(manifest, metric_options(), tmp_path_factory.mktemp("metric"), cache)


@pytest.fixture(scope="session")
def classifier_run(manifest: Manifest, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    with tiny_backbone():
        return finish(manifest, classifier_options(), tmp_path_factory.mktemp("classifier"), cache)


def finish(manifest: Manifest, options: Options, folder: Path, cache: Path) -> FinishedRun:
    place, watcher = job(folder, cache=cache, pictures=True), RecordingWatcher()
    card = train_and_publish(manifest, options, place, watcher)
    assert card is not None
    return FinishedRun(place.out, place.run, card, watcher)
