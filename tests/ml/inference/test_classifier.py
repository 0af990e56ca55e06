"""Classifying pictures with a classifier's folder."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ml.encoder.folder import read_card, read_onnx, read_weights, write_encoder
from ml.formats.encoder_folder import EncoderCorrupt, EncoderIncompatible
from ml.inference.classifier import Classifier, load_classifier, softmax
from ml.inference.embedder import load_embedder
from ml.runtime.types import Outputs
from ml.vectors import NotFiniteError
from tests.helpers.drawn_pictures import drawn_picture
from tests.helpers.errors import raises_code
from tests.helpers.small_encoder import SIDE, random_pixels, small_encoder

LABELS = ("Hat", "Shoes", "Skirt")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("classifier") / "small"
    small_encoder(folder, LABELS, head="hidden512")
    return folder


@pytest.fixture(scope="module")
def classifier(folder) -> Classifier:
    return load_classifier(folder, "onnx", threads=1)


def test_each_picture_gets_a_row_of_probabilities(classifier):
    probabilities = classifier.probabilities([drawn_picture(seed, (60, 80)) for seed in range(5)])
    assert (probabilities.shape, probabilities.dtype) == ((5, 3), np.float32)
    assert classifier.labels == LABELS
    assert probabilities.min() > 0
    assert probabilities.sum(axis=1) == pytest.approx(np.ones(5), abs=1e-6)


def test_no_pictures_give_no_rows(classifier):
    assert classifier.probabilities([]).shape == (0, 3)
    assert classifier.probabilities_of_batches([]).shape == (0, 3)


def test_onnx_and_torch_give_the_same_probabilities(classifier, folder):
    on_torch = load_classifier(folder, "torch", threads=1)
    batches = [random_pixels(3), random_pixels(2, seed=5)]
    assert (classifier.runtime, on_torch.runtime) == ("onnx", "torch")
    probabilities = classifier.probabilities_of_batches(batches)
    assert len(probabilities) == 5
    assert on_torch.probabilities_of_batches(batches) == pytest.approx(probabilities, abs=1e-5)


def test_pictures_and_their_pixels_give_the_same_probabilities(classifier):
    pictures = [Image.new("RGB", (SIDE, SIDE), colour) for colour in ("red", "blue")]
    pixels = np.stack([classifier.card.preprocessing(picture) for picture in pictures])
    assert np.array_equal(classifier.probabilities(pictures), classifier.probabilities_of_batches([pixels]))


def test_an_output_that_is_not_finite_is_an_error(classifier):
    broken = replace(classifier, forward=lambda pixels: Outputs(np.full((len(pixels), 3), np.nan, np.float32)))
    with pytest.raises(NotFiniteError):
        broken.probabilities([drawn_picture(1)])


# --- softmax


def test_softmax_equals_its_formula():
    logits = np.random.default_rng(0).normal(size=(4, 6)).astype(np.float32)
    for row, shares in zip(logits.tolist(), softmax(logits), strict=True):
        total = sum(math.exp(value) for value in row)
        assert shares == pytest.approx(np.array([math.exp(value) / total for value in row]), rel=1e-6)


def test_softmax_does_not_overflow():
    shares = softmax(np.array([[3e38, 0.0], [-3e38, -3e38]], dtype=np.float32))
    assert shares.tolist() == [[1.0, 0.0], [0.5, 0.5]]


# --- folders that are not of a classifier


def test_a_metric_encoder_cannot_be_loaded_as_a_classifier(shipped_folder):
    with raises_code(EncoderIncompatible, "encoder_kind", "metric"):
        load_classifier(shipped_folder, "onnx")


def test_a_classifier_cannot_be_loaded_as_an_embedder(folder):
    with raises_code(EncoderIncompatible, "encoder_kind", "classifier"):
        load_embedder(folder, "onnx")


def test_a_missing_folder_is_corrupt(tmp_path):
    with raises_code(EncoderCorrupt, "folder_missing"):
        load_classifier(tmp_path / "none")


@pytest.mark.parametrize(("name", "runtime"), [("model.onnx", "onnx"), ("weights.safetensors", "torch")])
def test_a_changed_byte_is_detected_on_loading(tmp_path, name, runtime):
    small_encoder(tmp_path / "small", LABELS)
    data = bytearray((tmp_path / "small" / name).read_bytes())
    data[-1] ^= 1
    (tmp_path / "small" / name).write_bytes(data)
    with raises_code(EncoderCorrupt, "sha256"):
        load_classifier(tmp_path / "small", runtime)


@pytest.mark.parametrize("runtime", ["onnx", "torch"])
def test_a_number_of_labels_unlike_the_outputs_is_corrupt(folder, tmp_path, runtime):
    card = read_card(folder)
    two = replace(card, labels=("Hat", "Shoes"), dim=2)
    write_encoder(tmp_path / "two", two, read_weights(folder, card), read_onnx(folder, card))
    with pytest.raises(EncoderCorrupt):
        load_classifier(tmp_path / "two", runtime)


@pytest.mark.parametrize("runtime", ["onnx", "torch"])
def test_an_ood_threshold_without_ood_layers_is_corrupt(folder, tmp_path, runtime):
    from ml.scoring.ood import OodThreshold

    card = read_card(folder)
    with_ood = replace(card, ood_threshold=OodThreshold(2.0, 0.99))
    write_encoder(tmp_path / "ood", with_ood, read_weights(folder, card), read_onnx(folder, card))
    with pytest.raises(EncoderCorrupt):
        load_classifier(tmp_path / "ood", runtime)


def test_a_head_unlike_the_card_is_corrupt(folder, tmp_path):
    card = read_card(folder)
    write_encoder(tmp_path / "plain", replace(card, head="linear"), read_weights(folder, card), read_onnx(folder, card))
    with raises_code(EncoderCorrupt, "weights_mismatch"):
        load_classifier(tmp_path / "plain", "torch")
