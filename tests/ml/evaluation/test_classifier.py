from pathlib import Path

import numpy as np
import pytest

from ml.data.manifest import Manifest, Photo, read_manifest
from ml.evaluation.classifier import (
    Predictions,
    calibration_error,
    confidence_gaps,
    confusion_matrix,
    measure_classifier,
    predict,
    queries_with_known_label,
    score_predictions,
    score_predictions_by_label,
)
from ml.evaluation.dataset import EvaluationError, build_dataset
from ml.evaluation.intervals import estimate_metrics
from ml.evaluation.views import read_phone_view
from ml.inference.classifier import Classifier, load_classifier
from tests.helpers.colour_encoder import COLOURS, colour_encoder, coloured_manifest
from tests.helpers.errors import raises_code

LABELS = ("red", "green", "blue")
SURE = 8 * np.eye(3)


@pytest.fixture(scope="module")
def classifier(tmp_path_factory) -> Classifier:
    folder = colour_encoder(tmp_path_factory.mktemp("encoder") / "names", SURE, LABELS)
    return load_classifier(folder, "onnx", threads=1)


def manifest_of(path: Path, *colours: str, labels: tuple[str, ...] = ()) -> Manifest:
    photos = [
        Photo(f"{at}.png", label, str(at), "test", {"colour": colour, "contributor": str(at % 3)})
        for at, (colour, label) in enumerate(zip(colours, labels or colours, strict=True))
    ]
    return read_manifest(coloured_manifest(path / "m.csv", photos))


def predictions_from(probabilities, truths, phone_probabilities=None, labels=("a", "b")) -> Predictions:
    clean = np.array(probabilities, dtype=np.float32)
    other = clean if phone_probabilities is None else np.array(phone_probabilities, dtype=np.float32)
    return Predictions(labels, np.arange(len(truths)), np.array(truths), clean, other)


FOUR = predictions_from([[0.9, 0.1], [0.8, 0.2], [0.6, 0.4], [0.3, 0.7]], [0, 0, 1, 1])
"""Worked out by hand below: both a right, one b of two classified as a."""


def metric_values(predictions: Predictions) -> dict[str, float]:
    estimates = estimate_metrics(score_predictions(predictions, np.arange(4)), 50)
    return {name: estimate.value for name, estimate in estimates.items()}


# --- metrics


def test_accuracy_recall_and_precision_of_four_predictions_worked_out_by_hand():
    metrics = metric_values(FOUR)
    assert metrics["accuracy"] == pytest.approx(3 / 4)
    assert metrics["macro_recall"] == pytest.approx((2 / 2 + 1 / 2) / 2)
    assert metrics["macro_precision"] == pytest.approx((2 / 3 + 1 / 1) / 2)
    by_label = score_predictions_by_label(FOUR, np.arange(4))
    estimates = {label: estimate_metrics(scores, 50) for label, scores in by_label.items()}
    assert (estimates["a"]["recall"].value, estimates["a"]["precision"].value) == pytest.approx((1, 2 / 3))
    assert (estimates["b"]["recall"].value, estimates["b"]["precision"].value) == pytest.approx((1 / 2, 1))
    assert estimates["b"]["recall"].queries == 2


def test_the_rows_of_the_confusion_matrix_are_the_true_labels():
    assert confusion_matrix(FOUR.clean, FOUR.truths).tolist() == [[2, 0], [1, 1]]
    assert confusion_matrix(FOUR.clean[:0], FOUR.truths[:0]).tolist() == [[0, 0], [0, 0]]


def test_the_gap_is_the_accuracy_lost_with_phone_photos():
    worse = predictions_from(FOUR.clean, FOUR.truths, [[0.1, 0.9], [0.8, 0.2], [0.6, 0.4], [0.3, 0.7]])
    metrics = metric_values(worse)
    assert metrics["phone_accuracy"] == pytest.approx(1 / 2)
    assert metrics["gap_accuracy"] == pytest.approx(1 / 4)


def test_a_label_without_photos_that_is_never_predicted_is_in_no_mean():
    three = predictions_from(
        [[0.9, 0.1, 0], [0.8, 0.2, 0], [0.4, 0.6, 0], [0.3, 0.7, 0]], [0, 0, 0, 1], labels=("a", "b", "c")
    )
    assert metric_values(three)["macro_recall"] == pytest.approx((2 / 3 + 1) / 2)
    assert metric_values(three)["macro_precision"] == pytest.approx((1 + 1 / 2) / 2)
    assert estimate_metrics(score_predictions_by_label(three, np.arange(4))["c"], 20) == {}


def calibration_error_by_a_loop(probabilities, truths, bins=15):
    confidence, predicted = probabilities.max(axis=1), probabilities.argmax(axis=1)
    error = 0.0
    for low in np.arange(bins) / bins:
        inside = (confidence >= low) & (confidence < low + 1 / bins)
        if inside.any():
            error += inside.mean() * abs(confidence[inside].mean() - (predicted == truths)[inside].mean())
    return error


def test_the_calibration_error_agrees_with_a_naive_loop():
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.ones(4), size=300).astype(np.float32)
    truths = rng.integers(0, 4, 300)
    error = calibration_error(confidence_gaps(probabilities, truths).mean(axis=0))
    assert error == pytest.approx(calibration_error_by_a_loop(probabilities, truths), abs=1e-6)


def test_a_calibrated_classifier_has_no_calibration_error():
    probabilities = np.array([[0.75, 0.25]] * 4)
    assert calibration_error(confidence_gaps(probabilities, np.array([0, 0, 0, 1])).mean(axis=0)) == pytest.approx(0)


def test_a_certain_classifier_that_is_right_half_the_time_has_an_error_of_one_half():
    metrics = metric_values(predictions_from([[1, 0]] * 4, [0, 1, 0, 1]))
    assert metrics["expected_calibration_error"] == pytest.approx(0.5)


# --- predictions


def test_a_classifier_of_colours_predicts_the_colours(classifier, tmp_path):
    manifest = manifest_of(tmp_path, "red", "green", "blue", "red")
    dataset = build_dataset(manifest)
    predictions = predict(classifier, dataset, dataset.queries)
    assert [predictions.labels[truth] for truth in predictions.truths] == ["red", "green", "blue", "red"]
    assert predictions.clean.argmax(axis=1).tolist() == predictions.truths.tolist()
    assert predictions.clean.sum(axis=1) == pytest.approx(1, abs=1e-5)


def test_the_phone_view_is_classified_too(classifier, tmp_path):
    manifest = manifest_of(tmp_path, "red", "green", "blue")
    dataset = build_dataset(manifest)
    predictions = predict(classifier, dataset, dataset.queries)
    pixels = [read_phone_view(manifest, classifier.card.preprocessing, photo) for photo in manifest.photos]
    assert predictions.phone == pytest.approx(classifier.probabilities_of_batches([np.stack(pixels)]), abs=1e-6)


def test_labels_that_the_classifier_does_not_know_are_left_out_and_counted(tmp_path):
    manifest = manifest_of(tmp_path, *["red"] * 5, labels=("red", "Skort", "Hat", "Skort", "red"))
    queries, left_out = queries_with_known_label(build_dataset(manifest), LABELS)
    assert queries.tolist() == [0, 4]
    assert left_out == {"Hat": 1, "Skort": 2}


def test_the_error_names_a_column_that_has_the_labels(tmp_path):
    manifest = manifest_of(tmp_path, "red", "green", labels=("Hat", "Shirt"))
    with raises_code(EvaluationError, "labels_unknown", "red, green, blue", "--label-column colour"):
        queries_with_known_label(build_dataset(manifest), LABELS)
    queries, left_out = queries_with_known_label(build_dataset(manifest, None, "colour"), LABELS)
    assert (queries.tolist(), left_out) == ([0, 1], {})


def test_the_error_names_no_column_if_none_has_the_labels(tmp_path):
    manifest = manifest_of(tmp_path, "red", "green")
    with raises_code(EvaluationError, "labels_unknown", "upper, lower") as caught:
        queries_with_known_label(build_dataset(manifest), ("upper", "lower"))
    assert "--label-column" not in str(caught.value)


def test_the_metrics_of_a_card_have_intervals(classifier, tmp_path):
    metrics = measure_classifier(classifier, manifest_of(tmp_path, *["red", "green", "blue"] * 3))
    assert metrics["accuracy"] == metrics["accuracy_low"] == metrics["accuracy_high"] == 1.0
    assert metrics["phone_macro_recall_low"] <= metrics["phone_macro_recall"] <= metrics["phone_macro_recall_high"]
    assert metrics["queries"] == 9
    assert all(np.isfinite(value) and value == round(value, 4) for value in metrics.values())


def test_the_classifier_knows_every_colour_of_the_fixtures(classifier):
    assert set(COLOURS) == set(classifier.labels)
