from pathlib import Path

import pytest

import ml
from ml.inference.classifier import Classifier, load_classifier
from ml.inference.embedder import Embedder, load_embedder

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
