"""Release checks: each objection alone, with its code and the values that it names."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from pytest_django import Settings

from catalog.models import Encoder, EncoderState, Evaluation, EvaluationState
from catalog.services.encoders.gate import metric_objections, release_objections
from tests.helpers.encoder_rows import embed_all, encoder_in, evaluation_set_of
from tests.helpers.factories import make_encoder, make_item_photo

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def encoder_dir(tmp_path: Path, settings: Settings) -> Path:
    settings.ENCODER_DIRS = [tmp_path / "own"]
    settings.GATE_MAX_DROP, settings.GATE_MIN_PHOTOS = 5, 20
    return tmp_path / "own"


@pytest.fixture
def live() -> Encoder:
    return make_encoder("live", state=EncoderState.LIVE)


@pytest.fixture
def candidate(encoder_dir: Path) -> Encoder:
    return encoder_in(encoder_dir, "new")


def objections(encoder: Encoder) -> dict[str, str]:
    """The texts of the objections by code."""
    return {objection.code: objection.text for objection in release_objections(encoder)}


def difference(value: float | None, **interval: float | None) -> dict[str, Any]:
    return {"value": value, "low": None, "high": None, "above_zero": 0.5} | interval


def report(differences: dict[str, Any], labels: dict[str, Any], asked: dict[str, int]) -> dict[str, Any]:
    """A report of `ml evaluate`, with `asked` photos per label."""
    names = ("garment_at_1", "near10", "phone_near10")
    figures = {label: {name: {"value": 0.5, "queries": count} for name in names} for label, count in asked.items()}
    whole = {name: {"value": 0.5, "queries": sum(asked.values())} for name in names}
    return {"figures": whole, "labels": figures, "against": {"differences": differences, "labels": labels}}


def make_comparison(candidate: Encoder, live: Encoder, **columns: Any) -> Evaluation:
    chosen = evaluation_set_of(make_item_photo())
    embed_all(candidate)
    return Evaluation.objects.create(encoder=candidate, against=live, evaluation_set=chosen, **columns)


def test_a_complete_compared_and_equal_encoder_has_no_objections(candidate: Encoder, live: Encoder) -> None:
    make_comparison(candidate, live, state=EvaluationState.DONE, report=report({"near10": difference(0.0)}, {}, {}))
    assert release_objections(candidate) == []


def test_the_live_encoder_has_no_objections(live: Encoder) -> None:
    assert release_objections(live) == []


def test_the_first_encoder_of_a_site_needs_no_embeddings_and_no_comparison(candidate: Encoder) -> None:
    make_item_photo()
    assert release_objections(candidate) == []


def test_a_classifier_cannot_be_released(encoder_dir: Path) -> None:
    (objection,) = release_objections(encoder_in(encoder_dir, "labels", kind="classifier"))
    assert (objection.code, objection.is_blocking) == ("kind", True)
    assert "classifier" in objection.text


def test_an_encoder_without_a_folder_cannot_be_released() -> None:
    assert "'lost'" in objections(make_encoder("lost"))["folder"]


def test_a_changed_byte_is_noticed_with_the_same_size_and_time(candidate: Encoder, encoder_dir: Path) -> None:
    assert release_objections(candidate) == []
    file = encoder_dir / "new" / "model.onnx"
    before = file.stat()
    part = file.with_name("other")
    part.write_bytes(file.read_bytes()[:-1] + b"?")
    os.utime(part, ns=(before.st_atime_ns, before.st_mtime_ns))
    part.replace(file)
    assert list(objections(candidate)) == ["card"]
    assert "model.onnx" in objections(candidate)["card"]


@pytest.mark.parametrize(
    "change", [{"files": {}}, {"kind": "classifier"}, {"dim": 7}, {"preprocessing": None}, {"format": "3"}]
)
def test_a_card_that_does_not_match_is_an_objection(
    candidate: Encoder, encoder_dir: Path, change: dict[str, Any]
) -> None:
    file = encoder_dir / "new" / "card.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    assert list(objections(candidate)) == ["card"]
    assert str(change.get("dim", "")) in objections(candidate)["card"]


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe", b"[]", b"null"])
def test_an_unreadable_card_is_an_objection(candidate: Encoder, encoder_dir: Path, content: bytes) -> None:
    (encoder_dir / "new" / "card.json").write_bytes(content)
    assert set(objections(candidate)) <= {"card", "folder"}
    assert release_objections(candidate)


def test_missing_embeddings_are_counted(candidate: Encoder, live: Encoder) -> None:
    make_item_photo()
    assert objections(candidate)["coverage"].startswith("1 photo ")
    make_item_photo()
    assert objections(candidate)["coverage"].startswith("2 photos ")


def test_a_missing_evaluation_set_is_an_objection(candidate: Encoder, live: Encoder) -> None:
    assert list(objections(candidate)) == ["no_evaluation_set"]


@pytest.mark.parametrize(
    "columns",
    [
        {"state": EvaluationState.QUEUED},
        {"state": EvaluationState.RUNNING},
        {"state": EvaluationState.FAILED, "reason": "The disk is full."},
    ],
)
def test_a_comparison_that_is_not_done_is_an_objection(
    candidate: Encoder, live: Encoder, columns: dict[str, Any]
) -> None:
    make_comparison(candidate, live, **columns)
    assert list(objections(candidate)) == ["not_compared"]
    assert columns.get("reason", columns["state"].value) in objections(candidate)["not_compared"]


def test_a_comparison_with_another_encoder_or_on_another_set_does_not_count(candidate: Encoder, live: Encoder) -> None:
    make_comparison(candidate, make_encoder(), state=EvaluationState.DONE)
    assert "live on Set 1" in objections(candidate)["not_compared"]
    Evaluation.objects.update(against=live)
    assert release_objections(candidate) == []
    evaluation_set_of(name="Set 2")
    assert "on Set 2" in objections(candidate)["not_compared"]


def test_a_label_that_drops_by_more_than_the_limit_is_an_objection_with_its_interval() -> None:
    drop = difference(-0.081, low=-0.12, high=-0.04)
    labels = {"T-Shirt": {"near10": drop}, "Dress": {"near10": difference(0.1)}}
    (objection,) = metric_objections(report({}, labels, {"T-Shirt": 54}))
    assert (objection.code, objection.is_blocking) == ("label_falls", False)
    for value in ("T-Shirt (54 photos)", "8.1 points", "-12.0 to -4.0"):
        assert value in objection.text


@pytest.mark.parametrize(
    ("value", "photos"),
    [
        (-0.05, 54),  # exactly the limit
        (-0.5, 19),  # too few photos
        (None, 54),  # not measured
    ],
)
def test_small_drops_and_labels_with_few_photos_are_no_objection(value: float | None, photos: int) -> None:
    assert metric_objections(report({}, {"Hat": {"near10": difference(value)}}, {"Hat": photos})) == []


def test_a_drop_over_all_photos_counts_for_any_number_of_photos() -> None:
    (objection,) = metric_objections(report({"garment_at_1": difference(-0.06)}, {}, {"Hat": 3}))
    assert objection.code == "figure_falls"
    for value in ("All (3 photos)", "6.0 points"):
        assert value in objection.text


def test_metrics_that_are_not_checked_may_drop() -> None:
    assert metric_objections(report({"recall_at_10": difference(-0.5)}, {}, {"Hat": 30})) == []


def test_a_report_without_a_comparison_has_no_objections() -> None:
    assert metric_objections({"figures": {}, "labels": {}, "against": None}) == []
