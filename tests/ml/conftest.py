from pathlib import Path

import pytest

import ml
from ml.embedder import Embedder, load_embedder

SHIPPED = Path(ml.__file__).parent / "encoders" / "efficientnet-lite0-pca100"


@pytest.fixture(scope="session")
def shipped_folder() -> Path:
    return SHIPPED


@pytest.fixture(scope="session")
def shipped() -> Embedder:
    """The encoder that is committed, through ONNX Runtime."""
    return load_embedder(SHIPPED, "onnx", threads=1)
