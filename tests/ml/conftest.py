import resource
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from ml.data.manifest import Manifest, read_manifest
from ml.inference.classifier import Classifier, load_classifier
from ml.inference.embedder import Embedder, load_embedder
from tests.helpers.garments import write_garments
from tests.helpers.shipped_encoders import SHIPPED, SHIPPED_CLASSIFIER


@pytest.fixture(scope="session")
def shipped_folder() -> Path:
    return SHIPPED


@pytest.fixture(scope="session")
def shipped() -> Embedder:
    """The committed metric encoder, run by ONNX Runtime."""
    return load_embedder(SHIPPED, "onnx", threads=1)


@pytest.fixture(scope="session")
def shipped_classifier() -> Classifier:
    """The committed classifier, run by ONNX Runtime."""
    return load_classifier(SHIPPED_CLASSIFIER, "onnx", threads=1)


@pytest.fixture(scope="session")
def manifest_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_garments(tmp_path_factory.mktemp("garments"))


@pytest.fixture(scope="session")
def manifest(manifest_file: Path) -> Manifest:
    return read_manifest(manifest_file)


@pytest.fixture
def file_size_limit() -> Callable[[int], AbstractContextManager[None]]:
    """Return a context manager that limits the size of files this process writes, like a full disk."""

    @contextmanager
    def limited(size: int) -> Iterator[None]:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    return limited
