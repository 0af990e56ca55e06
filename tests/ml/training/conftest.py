from dataclasses import dataclass
from pathlib import Path

import pytest

from ml.data.manifest import Manifest
from ml.encoder.card import Card
from ml.training.run import train_and_publish
from tests.helpers.tiny_training import RecordingWatcher, classifier_options, job, metric_options


@dataclass(frozen=True)
class Trained:
    """A whole run that went well: its encoder folder, its run folder, its card and what its watcher was told."""

    out: Path
    run: Path
    card: Card
    watcher: RecordingWatcher


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Kept views of runs with the options of `tiny`; a test that changes what they are made of takes its own folder."""
    return tmp_path_factory.mktemp("views")


@pytest.fixture(scope="session")
def metric_run(manifest: Manifest, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    place, watcher = job(tmp_path_factory.mktemp("metric"), cache=cache), RecordingWatcher()
    card = train_and_publish(manifest, metric_options(), place, watcher)
    assert card is not None
    return Trained(place.out, place.run, card, watcher)


@pytest.fixture(scope="session")
def classifier_run(manifest: Manifest, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    place, watcher = job(tmp_path_factory.mktemp("classifier"), cache=cache), RecordingWatcher()
    card = train_and_publish(manifest, classifier_options(), place, watcher)
    assert card is not None
    return Trained(place.out, place.run, card, watcher)
