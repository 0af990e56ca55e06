"""What speaks against a release: each reason alone, in words."""

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
def place(tmp_path: Path, settings: Settings) -> Path:
    settings.ENCODER_DIRS = [tmp_path / "own"]
    settings.GATE_MAX_DROP, settings.GATE_MIN_PHOTOS = 5, 20
    return tmp_path / "own"


@pytest.fixture
def live() -> Encoder:
    return make_encoder("live", state=EncoderState.LIVE)


@pytest.fixture
def candidate(place: Path) -> Encoder:
    return encoder_in(place, "new")


def told(encoder: Encoder) -> dict[str, str]:
    return {objection.code: objection.text for objection in release_objections(encoder)}


def differing(value: float, **more: float | None) -> dict[str, Any]:
    return {"value": value, "low": None, "high": None, "above_zero": 0.5} | more


def report(differences: dict[str, Any], labels: dict[str, Any], asked: dict[str, int]) -> dict[str, Any]:
    """As `ml evaluate` tells it; each label's figures are over all its photos."""
    names = ("garment_at_1", "near10", "phone_near10")
    figures = {label: {name: {"value": 0.5, "queries": count} for name in names} for label, count in asked.items()}
    whole = {name: {"value": 0.5, "queries": sum(asked.values())} for name in names}
    return {"figures": whole, "labels": figures, "against": {"differences": differences, "labels": labels}}


def compared(candidate: Encoder, live: Encoder, **columns: Any) -> Evaluation:
    chosen = evaluation_set_of(make_item_photo())
    embed_all(candidate)
    return Evaluation.objects.create(encoder=candidate, against=live, evaluation_set=chosen, **columns)


def test_an_equal_encoder_that_is_complete_and_compared_passes(candidate: Encoder, live: Encoder) -> None:
    compared(candidate, live, state=EvaluationState.DONE, report=report({"near10": differing(0.0)}, {}, {}))
    assert release_objections(candidate) == []


def test_nothing_speaks_against_the_live_encoder(live: Encoder) -> None:
    assert release_objections(live) == []


def test_the_first_encoder_of_a_site_needs_neither_vectors_nor_a_comparison(candidate: Encoder) -> None:
    make_item_photo()
    assert release_objections(candidate) == []


def test_a_classifier_cannot_answer(place: Path) -> None:
    assert told(encoder_in(place, "labels", kind="classifier")) == {
        "kind": "It is a classifier; only a metric encoder can answer queries."
    }


def test_an_encoder_whose_folder_is_gone_cannot_answer() -> None:
    assert "holds 'lost'" in told(make_encoder("lost"))["folder"]


def test_a_changed_byte_is_noticed_even_when_the_size_and_the_time_are_the_same(
    candidate: Encoder, place: Path
) -> None:
    assert release_objections(candidate) == []
    file = place / "new" / "model.onnx"
    before = file.stat()
    part = file.with_name("other")
    part.write_bytes(file.read_bytes()[:-1] + b"?")
    os.utime(part, ns=(before.st_atime_ns, before.st_mtime_ns))
    part.replace(file)
    assert told(candidate) == {"card": "model.onnx is not the file that its card describes."}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"files": {}}, "another one than that it was registered with"),
        ({"kind": "classifier"}, "another one than that it was registered with"),
        ({"dim": 7}, "says 7 numbers a vector; its vectors have 4"),
        ({"preprocessing": None}, "does not say how photos are prepared"),
        ({"format": "3"}, "does not say how photos are prepared"),
    ],
)
def test_a_card_that_does_not_fit_is_told(candidate: Encoder, place: Path, change: dict[str, Any], words: str) -> None:
    file = place / "new" / "card.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    assert words in told(candidate)["card"]


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe", b"[]", b"null"])
def test_a_card_that_is_none_is_told(candidate: Encoder, place: Path, content: bytes) -> None:
    (place / "new" / "card.json").write_bytes(content)
    assert set(told(candidate)) <= {"card", "folder"}
    assert release_objections(candidate)


def test_missing_vectors_are_counted(candidate: Encoder, live: Encoder) -> None:
    make_item_photo()
    assert told(candidate)["coverage"].startswith("1 photo has no vector of it yet")
    make_item_photo()
    assert told(candidate)["coverage"].startswith("2 photos have no vector of it yet")


def test_without_an_evaluation_set_it_cannot_be_compared(candidate: Encoder, live: Encoder) -> None:
    assert list(told(candidate)) == ["no_evaluation_set"]


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"state": EvaluationState.QUEUED}, "is waiting"),
        ({"state": EvaluationState.RUNNING}, "is under way"),
        ({"state": EvaluationState.FAILED, "reason": "The disk is full."}, "has failed: The disk is full."),
    ],
)
def test_a_comparison_that_is_not_done_is_told(
    candidate: Encoder, live: Encoder, columns: dict[str, Any], words: str
) -> None:
    compared(candidate, live, **columns)
    assert told(candidate)["not_compared"].endswith(words.rstrip(".") + ".")


def test_a_comparison_with_another_encoder_or_on_another_set_does_not_count(candidate: Encoder, live: Encoder) -> None:
    compared(candidate, make_encoder(), state=EvaluationState.DONE)
    assert "not compared with the live encoder live on Set 1 yet" in told(candidate)["not_compared"]
    Evaluation.objects.update(against=live)
    assert release_objections(candidate) == []
    evaluation_set_of(name="Set 2")
    assert "on Set 2 yet" in told(candidate)["not_compared"]


def test_a_label_that_falls_by_more_than_the_limit_is_told_with_its_interval() -> None:
    fall = differing(-0.081, low=-0.12, high=-0.04)
    told = metric_objections(
        report({}, {"T-Shirt": {"near10": fall}, "Dress": {"near10": differing(0.1)}}, {"T-Shirt": 54})
    )
    assert [(objection.code, objection.text) for objection in told] == [
        (
            "label_falls",
            "T-Shirt (54 photos): the right label among the ten nearest falls by 8.1 points "
            "(95 % interval -12.0 to -4.0).",
        )
    ]


@pytest.mark.parametrize(
    ("value", "photos"),
    [
        (-0.05, 54),  # just the limit
        (-0.5, 19),  # too few photos to tell
        (None, 54),  # nothing is known
    ],
)
def test_what_does_not_fall_enough_or_stands_on_too_little_is_no_objection(value: float, photos: int) -> None:
    assert metric_objections(report({}, {"Hat": {"near10": differing(value)}}, {"Hat": photos})) == []


def test_a_figure_over_all_photos_counts_however_few_there_are() -> None:
    told = metric_objections(report({"garment_at_1": differing(-0.06)}, {}, {"Hat": 3}))
    assert [objection.text for objection in told] == [
        "All (3 photos): the very garment first, from a phone photo, falls by 6.0 points."
    ]


def test_figures_that_the_gate_does_not_look_at_may_fall() -> None:
    assert metric_objections(report({"recall_at_10": differing(-0.5)}, {}, {"Hat": 30})) == []


def test_a_report_without_a_comparison_has_nothing_to_object_to() -> None:
    assert metric_objections({"figures": {}, "labels": {}, "against": None}) == []
