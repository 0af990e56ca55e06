import json

import numpy as np
import pytest

from ml.data.manifest import Photo, read_manifest
from ml.evaluation.dataset import EvaluationError, build_dataset
from ml.evaluation.encoders import evaluate_encoders
from ml.evaluation.intervals import estimate_metrics
from ml.evaluation.report import Report, build_report, report_to_json
from ml.evaluation.tables import report_to_text
from ml.formats.metric_names import is_metric
from tests.helpers.colour_encoder import COLOURS, colour_encoder, coloured_manifest
from tests.helpers.errors import raises_code

LABELS = tuple(COLOURS)
RED_BLIND = [[1, 1, 0], [0, 0, 1]]  # does not distinguish red and green
CONFUSED = [[4, 4, 0], [5, 4, 0], [0, 0, 8]]  # classifies red as green, and green as red
RESAMPLES = 60


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Encoders, classifiers and two manifests of colours, one of which has labels that no classifier knows."""
    folder = tmp_path_factory.mktemp("report")
    colour_encoder(folder / "colours")
    colour_encoder(folder / "red-blind", RED_BLIND)
    colour_encoder(folder / "names", 8 * np.eye(3), LABELS)
    colour_encoder(folder / "confused", CONFUSED, LABELS)
    colour_encoder(folder / "two-names", 8 * np.eye(3)[:2], LABELS[:2])
    photos = [
        Photo(f"{at}.png", LABELS[at % 3], f"item {at // 2}", "test", {"contributor": str(at % 4)}) for at in range(24)
    ]
    coloured_manifest(folder / "m.csv", photos)
    return folder


def report_on(folder, *names: str) -> Report:
    dataset = build_dataset(read_manifest(folder / "m.csv"))
    scores, *others = evaluate_encoders([folder / name for name in names], dataset, runtime="onnx", threads=1)
    return build_report(dataset, scores, others[0] if others else None, RESAMPLES)


@pytest.fixture(scope="module")
def metric(folder) -> Report:
    return report_on(folder, "colours", "red-blind")


@pytest.fixture(scope="module")
def classifier(folder) -> Report:
    return report_on(folder, "names", "confused")


# --- evaluating encoders


def test_a_metric_encoder_and_a_classifier_are_not_compared(folder):
    with raises_code(EvaluationError, "kinds_differ", "colours' holds a metric encoder", "names' a classifier"):
        report_on(folder, "colours", "names")


def test_classifiers_are_compared_on_the_labels_that_both_know(folder):
    report = report_on(folder, "names", "two-names")
    assert report.left_out == {"blue": 8}
    assert report.queries == 16
    assert report.against is not None
    assert list(report.against.labels) == ["red", "green"]


def test_classifiers_without_a_common_label_are_not_compared(folder, tmp_path):
    other = colour_encoder(tmp_path / "others", 8 * np.eye(3)[:2], ("hat", "shoe"))
    with raises_code(EvaluationError, "labels_differ"):
        evaluate_encoders(
            [folder / "names", other], build_dataset(read_manifest(folder / "m.csv")), runtime="onnx", threads=1
        )


# --- the report


def test_the_report_describes_the_queries(metric):
    assert metric.encoder.startswith("colours@")
    assert (metric.kind, metric.splits, metric.queries, metric.gallery) == ("metric", ("val", "test"), 24, 24)
    assert (metric.owner, metric.owners, metric.resamples) == ("contributor", 4, RESAMPLES)
    assert metric.asked == {"blue": 8, "green": 8, "red": 8}


def test_the_report_holds_the_metrics_overall_and_by_label(folder, metric):
    dataset = build_dataset(read_manifest(folder / "m.csv"))
    [scores] = evaluate_encoders([folder / "colours"], dataset, runtime="onnx", threads=1)
    assert metric.figures == estimate_metrics(scores.overall, RESAMPLES)
    assert metric.labels["red"] == estimate_metrics(scores.by_label["red"], RESAMPLES)


def test_an_encoder_that_does_not_distinguish_red_and_green_is_worse_by_label(metric):
    assert metric.against is not None
    result = metric.against.differences["map_at_r"]
    assert result.value == pytest.approx(metric.figures["map_at_r"].value - metric.against.figures["map_at_r"].value)
    assert result.low > 0
    assert result.above_zero == 1.0
    assert set(metric.against.labels) == set(LABELS)


def test_without_another_encoder_there_is_no_comparison(folder):
    assert report_on(folder, "colours").against is None


def test_the_report_of_a_classifier_holds_its_confusion_matrix(classifier):
    assert classifier.classes == LABELS
    assert classifier.confusion["clean"] == [[8, 0, 0], [0, 8, 0], [0, 0, 8]]
    assert np.sum(classifier.confusion["phone"]) == 24
    assert classifier.figures["accuracy"].value == 1.0
    assert classifier.against is not None
    assert classifier.against.figures["accuracy"].value == pytest.approx(1 / 3)
    assert classifier.against.differences["accuracy"].value == pytest.approx(2 / 3)


def test_unknown_numbers_are_null_in_the_json(folder, tmp_path):
    photos = [Photo(f"{at}.png", LABELS[at % 2], str(at), "val", {"contributor": "1"}) for at in range(4)]
    dataset = build_dataset(read_manifest(coloured_manifest(tmp_path / "m.csv", photos)))
    [scores] = evaluate_encoders([folder / "colours"], dataset, runtime="onnx", threads=1)
    text = report_to_json(build_report(dataset, scores, None, RESAMPLES))
    content = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert content["owners"] == 1
    assert content["figures"]["garment_at_5"] == {"value": 1.0, "low": None, "high": None, "queries": 4}
    assert content["against"] is None
    assert text.endswith("}\n")


def test_the_json_is_deterministic(folder, metric):
    assert report_to_json(report_on(folder, "colours", "red-blind")) == report_to_json(metric)


def test_every_metric_of_a_report_is_in_the_list_of_names(metric, classifier):
    for report in (metric, classifier):
        assert all(map(is_metric, report.figures))
        assert all(map(is_metric, report.labels["red"]))
    assert not is_metric("gap_garment_at_1")


# --- the tables


def lines_of(report: Report) -> list[str]:
    return report_to_text(report).splitlines()


def line(report: Report, start: str) -> list[str]:
    """The cells of the first line with this start."""
    [result, *_] = [text for text in lines_of(report) if text.startswith(start)]
    return result.removeprefix(start).split()


def test_the_table_shows_both_views_and_the_gap_in_percent(metric):
    figures = metric.figures
    cells = line(metric, "label: MAP@R ")
    assert cells[0] == f"{100 * figures['map_at_r'].value:.1f}"
    assert cells[3] == f"{100 * figures['phone_map_at_r'].value:.1f}"
    assert cells[6] == f"{100 * figures['gap_map_at_r'].value:.1f}"
    assert cells[4] == f"[{100 * figures['phone_map_at_r'].low:.1f},"


def test_the_table_shows_the_garment_metrics_for_the_phone_view_only(metric):
    cells = line(metric, "garment found first")
    assert cells[0] == f"{100 * metric.figures['garment_at_1'].value:.1f}"
    assert len(cells) == 3


def test_the_table_has_a_line_for_each_label_with_its_number_of_queries(metric, classifier):
    assert line(metric, "red")[0] == line(classifier, "red")[0] == "8"


def test_the_table_shows_the_difference_with_its_sign(metric):
    result = metric.against.differences["recall_at_1"]
    cells = line(metric, "label: Recall@1, phone")
    assert cells[2].startswith(("+", "-"))
    assert any(f"{100 * result.value:+.1f} [" in text for text in lines_of(metric))


def test_columns_are_aligned(metric):
    by_label = report_to_text(metric).split("\n\n")[2].splitlines()
    assert len(by_label) == 4
    assert len({len(text) for text in by_label}) == 1
    assert max(len(text) for text in lines_of(metric)) <= 120


def test_the_table_of_a_classifier_counts_the_queries_left_out(folder):
    text = report_to_text(report_on(folder, "two-names"))
    assert "Left out, because the classifier lacks the label: 8 blue." in text
    assert "16 queries (val, test) for 2 labels" in text
    assert "expected calibration error" in text


def test_an_unknown_interval_is_not_shown(folder, tmp_path):
    photos = [Photo(f"{at}.png", LABELS[at % 2], str(at), "val", {"contributor": "1"}) for at in range(4)]
    dataset = build_dataset(read_manifest(coloured_manifest(tmp_path / "m.csv", photos)))
    [scores] = evaluate_encoders([folder / "colours"], dataset, runtime="onnx", threads=1)
    report = build_report(dataset, scores, None, RESAMPLES)
    assert line(report, "garment found in five") == ["100.0"]
    assert "nan" not in report_to_text(report)
