from pathlib import Path

import numpy as np
import pytest

from ml.data.manifest import Manifest, Photo, read_manifest
from ml.evaluation.classifying import (
    Answers,
    answers,
    calibration_error,
    confidence_gaps,
    confusion,
    known_queries,
    measure_classifier,
    scored_answers,
    scored_answers_by_label,
)
from ml.evaluation.intervals import estimates
from ml.evaluation.questions import EvaluationError, questions_of
from ml.evaluation.views import phone
from ml.inference.classifier import Classifier, load_classifier
from tests.helpers.colour_encoder import COLOURS, colour_encoder, coloured_manifest

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


def given(probabilities, truths, phone_probabilities=None, labels=("a", "b")) -> Answers:
    clean = np.array(probabilities, dtype=np.float32)
    other = clean if phone_probabilities is None else np.array(phone_probabilities, dtype=np.float32)
    return Answers(labels, np.arange(len(truths)), np.array(truths), clean, other)


FOUR = given([[0.9, 0.1], [0.8, 0.2], [0.6, 0.4], [0.3, 0.7]], [0, 0, 1, 1])
"""Worked by hand below: a, a, and of the two b's one taken for an a."""


def values(of: Answers) -> dict[str, float]:
    return {name: found.value for name, found in estimates(scored_answers(of, np.arange(4)), 50).items()}


# --- figures


def test_accuracy_recall_and_precision_of_four_answers_worked_by_hand():
    found = values(FOUR)
    assert found["accuracy"] == pytest.approx(3 / 4)
    assert found["macro_recall"] == pytest.approx((2 / 2 + 1 / 2) / 2)
    assert found["macro_precision"] == pytest.approx((2 / 3 + 1 / 1) / 2)
    by_label = scored_answers_by_label(FOUR, np.arange(4))
    told = {label: estimates(scored, 50) for label, scored in by_label.items()}
    assert (told["a"]["recall"].value, told["a"]["precision"].value) == pytest.approx((1, 2 / 3))
    assert (told["b"]["recall"].value, told["b"]["precision"].value) == pytest.approx((1 / 2, 1))
    assert told["b"]["recall"].queries == 2


def test_the_confusion_counts_have_the_truth_in_rows():
    assert confusion(FOUR.clean, FOUR.truths).tolist() == [[2, 0], [1, 1]]
    assert confusion(FOUR.clean[:0], FOUR.truths[:0]).tolist() == [[0, 0], [0, 0]]


def test_the_gap_is_what_the_phone_costs():
    worse = given(FOUR.clean, FOUR.truths, [[0.1, 0.9], [0.8, 0.2], [0.6, 0.4], [0.3, 0.7]])
    found = values(worse)
    assert found["phone_accuracy"] == pytest.approx(1 / 2)
    assert found["gap_accuracy"] == pytest.approx(1 / 4)


def test_a_label_without_photos_that_is_never_told_is_in_no_mean():
    three = given([[0.9, 0.1, 0], [0.8, 0.2, 0], [0.4, 0.6, 0], [0.3, 0.7, 0]], [0, 0, 0, 1], labels=("a", "b", "c"))
    assert values(three)["macro_recall"] == pytest.approx((2 / 3 + 1) / 2)
    assert values(three)["macro_precision"] == pytest.approx((1 + 1 / 2) / 2)
    assert estimates(scored_answers_by_label(three, np.arange(4))["c"], 20) == {}


def calibration_error_by_a_loop(probabilities, truths, bins=15):
    confidence, guesses = probabilities.max(axis=1), probabilities.argmax(axis=1)
    error = 0.0
    for low in np.arange(bins) / bins:
        inside = (confidence >= low) & (confidence < low + 1 / bins)
        if inside.any():
            error += inside.mean() * abs(confidence[inside].mean() - (guesses == truths)[inside].mean())
    return error


def test_the_calibration_error_agrees_with_the_dumbest_loop():
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.ones(4), size=300).astype(np.float32)
    truths = rng.integers(0, 4, 300)
    found = calibration_error(confidence_gaps(probabilities, truths).mean(axis=0))
    assert found == pytest.approx(calibration_error_by_a_loop(probabilities, truths), abs=1e-6)


def test_a_classifier_that_is_as_right_as_it_is_sure_has_no_calibration_error():
    probabilities = np.array([[0.75, 0.25]] * 4)
    assert calibration_error(confidence_gaps(probabilities, np.array([0, 0, 0, 1])).mean(axis=0)) == pytest.approx(0)


def test_one_that_is_always_certain_and_half_right_is_off_by_a_half():
    found = values(given([[1, 0]] * 4, [0, 1, 0, 1]))
    assert found["expected_calibration_error"] == pytest.approx(0.5)


# --- asking


def test_a_classifier_of_colours_tells_the_colours(classifier, tmp_path):
    manifest = manifest_of(tmp_path, "red", "green", "blue", "red")
    questions = questions_of(manifest)
    said = answers(classifier, questions, questions.queries)
    assert [said.labels[truth] for truth in said.truths] == ["red", "green", "blue", "red"]
    assert said.clean.argmax(axis=1).tolist() == said.truths.tolist()
    assert said.clean.sum(axis=1) == pytest.approx(1, abs=1e-5)


def test_the_phone_view_is_asked_as_well(classifier, tmp_path):
    manifest = manifest_of(tmp_path, "red", "green", "blue")
    questions = questions_of(manifest)
    said = answers(classifier, questions, questions.queries)
    pixels = [phone(manifest, classifier.card.preprocessing, photo) for photo in manifest.photos]
    assert said.phone == pytest.approx(classifier.probabilities_of_batches([np.stack(pixels)]), abs=1e-6)


def test_labels_that_the_classifier_does_not_know_are_left_out_and_counted(tmp_path):
    manifest = manifest_of(tmp_path, *["red"] * 5, labels=("red", "Skort", "Hat", "Skort", "red"))
    queries, left_out = known_queries(questions_of(manifest), LABELS)
    assert queries.tolist() == [0, 4]
    assert left_out == {"Hat": 1, "Skort": 2}


def test_labels_of_another_column_are_pointed_at(tmp_path):
    manifest = manifest_of(tmp_path, "red", "green", labels=("Hat", "Shirt"))
    with pytest.raises(
        EvaluationError, match=r"No photo has a label .* \(red, green, blue\)\. .*--label-column colour"
    ):
        known_queries(questions_of(manifest), LABELS)
    queries, left_out = known_queries(questions_of(manifest, None, "colour"), LABELS)
    assert (queries.tolist(), left_out) == ([0, 1], {})


def test_where_no_column_has_its_labels_nothing_is_pointed_at(tmp_path):
    manifest = manifest_of(tmp_path, "red", "green")
    with pytest.raises(EvaluationError, match=r"knows \(upper, lower\)\.$"):
        known_queries(questions_of(manifest), ("upper", "lower"))


def test_a_card_is_told_the_figures_with_their_intervals(classifier, tmp_path):
    figures = measure_classifier(classifier, manifest_of(tmp_path, *["red", "green", "blue"] * 3))
    assert figures["accuracy"] == figures["accuracy_low"] == figures["accuracy_high"] == 1.0
    assert figures["phone_macro_recall_low"] <= figures["phone_macro_recall"] <= figures["phone_macro_recall_high"]
    assert figures["queries"] == 9
    assert all(np.isfinite(value) and value == round(value, 4) for value in figures.values())


def test_every_colour_of_the_fixtures_is_told(classifier):
    assert set(COLOURS) == set(classifier.labels)
