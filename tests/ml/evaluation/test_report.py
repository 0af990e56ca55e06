import json

import numpy as np
import pytest

from ml.data.manifest import Photo, read_manifest
from ml.evaluation.intervals import estimates
from ml.evaluation.judging import judge
from ml.evaluation.questions import EvaluationError, questions_of
from ml.evaluation.report import Report, report_of, report_to_json
from ml.evaluation.tables import text_of
from tests.helpers.colour_encoder import COLOURS, colour_encoder, coloured_manifest

LABELS = tuple(COLOURS)
RED_BLIND = [[1, 1, 0], [0, 0, 1]]  # red and green are one to it
CONFUSED = [[4, 4, 0], [5, 4, 0], [0, 0, 8]]  # red looks green to it, and green red
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
    questions = questions_of(read_manifest(folder / "m.csv"))
    judged, *others = judge([folder / name for name in names], questions, runtime="onnx", threads=1)
    return report_of(questions, judged, others[0] if others else None, RESAMPLES)


@pytest.fixture(scope="module")
def metric(folder) -> Report:
    return report_on(folder, "colours", "red-blind")


@pytest.fixture(scope="module")
def classifier(folder) -> Report:
    return report_on(folder, "names", "confused")


# --- judging


def test_a_metric_encoder_and_a_classifier_have_nothing_in_common(folder):
    with pytest.raises(
        EvaluationError, match=r"colours' holds a metric encoder and '.*names' a classifier: they have no figure"
    ):
        report_on(folder, "colours", "names")


def test_classifiers_are_compared_on_the_labels_that_both_know(folder):
    report = report_on(folder, "names", "two-names")
    assert report.left_out == {"blue": 8}
    assert report.queries == 16
    assert report.against is not None
    assert list(report.against.labels) == ["red", "green"]


def test_classifiers_without_a_common_label_are_not_compared(folder, tmp_path):
    other = colour_encoder(tmp_path / "others", 8 * np.eye(3)[:2], ("hat", "shoe"))
    with pytest.raises(EvaluationError, match="no label in common"):
        judge([folder / "names", other], questions_of(read_manifest(folder / "m.csv")), runtime="onnx", threads=1)


# --- the report


def test_the_report_says_what_was_asked(metric):
    assert metric.encoder.startswith("colours@")
    assert (metric.kind, metric.splits, metric.queries, metric.gallery) == ("metric", ("val", "test"), 24, 24)
    assert (metric.owner, metric.owners, metric.resamples) == ("contributor", 4, RESAMPLES)
    assert metric.asked == {"blue": 8, "green": 8, "red": 8}


def test_the_figures_are_those_of_the_encoder_and_of_its_labels(folder, metric):
    questions = questions_of(read_manifest(folder / "m.csv"))
    [judged] = judge([folder / "colours"], questions, runtime="onnx", threads=1)
    assert metric.figures == estimates(judged.whole, RESAMPLES)
    assert metric.labels["red"] == estimates(judged.by_label["red"], RESAMPLES)


def test_one_that_cannot_tell_red_from_green_is_worse_at_the_labels(metric):
    assert metric.against is not None
    found = metric.against.differences["map_at_r"]
    assert found.value == pytest.approx(metric.figures["map_at_r"].value - metric.against.figures["map_at_r"].value)
    assert found.low > 0
    assert found.above_zero == 1.0
    assert set(metric.against.labels) == set(LABELS)


def test_without_another_encoder_there_is_no_comparison(folder):
    assert report_on(folder, "colours").against is None


def test_a_classifier_s_report_counts_what_was_taken_for_what(classifier):
    assert classifier.classes == LABELS
    assert classifier.confusion["clean"] == [[8, 0, 0], [0, 8, 0], [0, 0, 8]]
    assert np.sum(classifier.confusion["phone"]) == 24
    assert classifier.figures["accuracy"].value == 1.0
    assert classifier.against is not None
    assert classifier.against.figures["accuracy"].value == pytest.approx(1 / 3)
    assert classifier.against.differences["accuracy"].value == pytest.approx(2 / 3)


def test_the_json_holds_everything_and_no_number_that_is_none(folder, tmp_path):
    photos = [Photo(f"{at}.png", LABELS[at % 2], str(at), "val", {"contributor": "1"}) for at in range(4)]
    questions = questions_of(read_manifest(coloured_manifest(tmp_path / "m.csv", photos)))
    [judged] = judge([folder / "colours"], questions, runtime="onnx", threads=1)
    text = report_to_json(report_of(questions, judged, None, RESAMPLES))
    told = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert told["owners"] == 1
    assert told["figures"]["garment_at_5"] == {"value": 1.0, "low": None, "high": None, "queries": 4}
    assert told["against"] is None
    assert text.endswith("}\n")


def test_the_json_is_the_same_every_time(folder, metric):
    assert report_to_json(report_on(folder, "colours", "red-blind")) == report_to_json(metric)


# --- the tables


def lines_of(report: Report) -> list[str]:
    return text_of(report).splitlines()


def line(report: Report, start: str) -> list[str]:
    """The cells of the first line that starts so."""
    [found, *_] = [text for text in lines_of(report) if text.startswith(start)]
    return found.removeprefix(start).split()


def test_the_table_shows_both_views_and_the_gap_in_percent(metric):
    figures = metric.figures
    cells = line(metric, "label: MAP@R ")
    assert cells[0] == f"{100 * figures['map_at_r'].value:.1f}"
    assert cells[3] == f"{100 * figures['phone_map_at_r'].value:.1f}"
    assert cells[6] == f"{100 * figures['gap_map_at_r'].value:.1f}"
    assert cells[4] == f"[{100 * figures['phone_map_at_r'].low:.1f},"


def test_the_table_shows_the_garment_under_the_phone_view_alone(metric):
    cells = line(metric, "garment found first")
    assert cells[0] == f"{100 * metric.figures['garment_at_1'].value:.1f}"
    assert len(cells) == 3


def test_the_table_has_a_line_for_each_label_with_how_often_it_was_asked(metric, classifier):
    assert line(metric, "red")[0] == line(classifier, "red")[0] == "8"


def test_the_table_shows_the_difference_with_its_sign(metric):
    found = metric.against.differences["recall_at_1"]
    cells = line(metric, "label: Recall@1, phone")
    assert cells[2].startswith(("+", "-"))
    assert any(f"{100 * found.value:+.1f} [" in text for text in lines_of(metric))


def test_columns_stand_below_each_other(metric):
    by_label = text_of(metric).split("\n\n")[2].splitlines()
    assert len(by_label) == 4
    assert len({len(text) for text in by_label}) == 1
    assert max(len(text) for text in lines_of(metric)) <= 120


def test_a_classifier_s_table_names_what_was_left_out(folder):
    text = text_of(report_on(folder, "two-names"))
    assert "Left out, as the classifier does not know the label: 8 blue." in text
    assert "16 queries (val, test) for 2 labels" in text
    assert "expected calibration error" in text


def test_an_interval_that_is_not_known_is_not_shown(folder, tmp_path):
    photos = [Photo(f"{at}.png", LABELS[at % 2], str(at), "val", {"contributor": "1"}) for at in range(4)]
    questions = questions_of(read_manifest(coloured_manifest(tmp_path / "m.csv", photos)))
    [judged] = judge([folder / "colours"], questions, runtime="onnx", threads=1)
    report = report_of(questions, judged, None, RESAMPLES)
    assert line(report, "garment found in five") == ["100.0"]
    assert "nan" not in text_of(report)
