import resource
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

import ml
from ml.data.manifest import Manifest, read_manifest
from ml.inference.classifier import Classifier, load_classifier
from ml.inference.embedder import Embedder, load_embedder
from tests.helpers.garments import write_garments

ENCODERS = Path(ml.__file__).parent / "encoders"
SHIPPED = ENCODERS / "efficientnet-lite0-metric100"
SHIPPED_CLASSIFIER = ENCODERS / "efficientnet-lite2-classifier17"


@pytest.fixture(scope="session")
def shipped_folder() -> Path:
    return SHIPPED


@pytest.fixture(scope="session")
def shipped() -> Embedder:
    """The metric encoder that is committed, through ONNX Runtime."""
    return load_embedder(SHIPPED, "onnx", threads=1)


@pytest.fixture(scope="session")
def shipped_classifier() -> Classifier:
    """The classifier that is committed, through ONNX Runtime."""
    return load_classifier(SHIPPED_CLASSIFIER, "onnx", threads=1)


@pytest.fixture(scope="session")
def manifest_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_garments(tmp_path_factory.mktemp("garments"))


@pytest.fixture(scope="session")
def manifest(manifest_file: Path) -> Manifest:
    return read_manifest(manifest_file)


@pytest.fixture
def file_size_limit() -> Callable[[int], AbstractContextManager[None]]:
    """Return a context manager that lets no file of this process grow beyond so many bytes: a full disk."""

    @contextmanager
    def limited(size: int) -> Iterator[None]:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    return limited
