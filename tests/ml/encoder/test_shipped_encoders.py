"""The committed encoders: complete, small, with full cards, and better than the untrained baselines."""

import numpy as np
import pytest
from PIL import Image

from ml.encoder.folder import check_folder, read_card
from tests.helpers.drawn_pictures import drawn_picture
from tests.helpers.shipped_encoders import SHIPPED, SHIPPED_CLASSIFIER

LIMIT = 40_000_000
BOTH = pytest.mark.parametrize("folder", [SHIPPED, SHIPPED_CLASSIFIER], ids=lambda folder: folder.name)


@BOTH
def test_every_file_has_the_hash_in_its_card(folder):
    assert check_folder(folder).name == folder.name


def test_the_encoders_in_git_stay_small():
    files = [path for path in SHIPPED.parent.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < LIMIT


@BOTH
def test_the_cards_describe_data_command_and_metrics(folder):
    card = read_card(folder)
    assert card.command.startswith(f"python -m ml train-{card.kind} --data ")
    assert card.command.count("/") == 2  # only those of the output folder, no path of a machine
    assert "CC0" in card.data
    assert len(card.data_sha256) == 64
    assert any("contributors" in note for note in card.notes)
    assert card.metrics["cosine_to_torch"] >= 0.9999


def test_the_metric_encoder_beats_the_plain_baseline_by_more_than_chance(shipped):
    """The baseline: frozen features and a plain whitened PCA. The lower interval bounds must be above it."""
    card = shipped.card
    assert (card.kind, card.dim, card.distance, card.labels) == ("metric", 100, "cosine", ())
    baseline = {"garment_at_1": 0.683, "garment_at_5": 0.836, "near10": 0.583, "map_at_r": 0.223}
    assert all(card.metrics[f"{name}_low"] > value for name, value in baseline.items())


def test_the_metric_encoder_has_a_calibration(shipped):
    calibration = shipped.card.calibration
    assert calibration is not None
    assert calibration.expected_calibration_error < 0.05
    assert calibration.probability(1.0) > 0.9 > 0.1 > calibration.probability(0.3)


def test_noise_is_above_the_ood_threshold(shipped):
    noise = np.random.default_rng(0).integers(0, 256, (2, 256, 256, 3), dtype=np.uint8)
    pixels = np.stack([shipped.card.preprocessing(Image.fromarray(picture)) for picture in noise])
    _, ood_score = shipped.embed_with_ood([pixels])
    assert ood_score is not None
    assert shipped.card.ood_threshold.not_clothes(ood_score).all()


def test_the_classifier_has_its_labels_and_accuracy(shipped_classifier):
    card = shipped_classifier.card
    assert (card.kind, card.dim, len(card.labels)) == ("classifier", 17, 17)
    assert {"T-Shirt", "Pants", "Dress", "Shoes"} <= set(shipped_classifier.labels)
    assert card.metrics["accuracy_low"] > 0.71 - 0.05  # logistic regression on frozen features: 71 % over val and test


def test_vectors_depend_on_colour_and_shape(shipped):
    vectors = shipped.embed([drawn_picture(seed, (200, 200)) for seed in (1, 1, 2, 3)])
    cosines = vectors @ vectors.T
    assert cosines[0, 1] > 0.999
    assert np.max(cosines[0, 2:]) < 0.97
