"""Card entries added by later formats, and cards of earlier formats; test_folder.py tests the other entries."""

import json
from dataclasses import replace

import pytest

from ml.encoder.card import Card, card_from_json, card_to_json
from ml.formats.encoder_folder import CARD_FORMAT, DATA_FILES, EncoderCorrupt, EncoderIncompatible
from ml.images.preprocess import Preprocess
from ml.inference.embedder import load_embedder
from ml.scoring.calibration import Calibration
from ml.scoring.match_confidence import MatchConfidence
from ml.scoring.ood import OodThreshold
from tests.helpers.errors import raises_code
from tests.helpers.small_encoder import random_pixels, small_encoder

CARD = Card(
    name="small",
    kind="metric",
    backbone="resnet18",
    pooling="gem",
    dim=100,
    preprocessing=Preprocess(32, 32, "crop", "bicubic", (127.0, 127.0, 127.0), (128.0, 128.0, 128.0)),
    files=dict.fromkeys(DATA_FILES, "0" * 64),
    head="hidden512",
    calibration=Calibration((0.2, 0.6, 0.8), (0.0, 0.5, 0.9), 0.02, 1000),
    ood_threshold=OodThreshold(2.5, 0.99),
    match_confidence=MatchConfidence(-2.0, 3.0, 4.0, false_negative_rate=0.1, true_negative_rate=0.9, queries=500),
)
NEW_KEYS = ("head", "calibration", "strangeness", "certainty")


def changed(**changes: object) -> str:
    return json.dumps(json.loads(card_to_json(CARD)) | changes)


def with_entry(entry: str, **changes: object) -> str:
    return changed(**{entry: json.loads(card_to_json(CARD))[entry] | changes})


def as_format_1() -> dict[str, object]:
    raw = json.loads(card_to_json(CARD)) | {"format": 1}
    return {key: value for key, value in raw.items() if key not in NEW_KEYS}


def test_a_card_survives_a_round_trip_through_json():
    text = card_to_json(CARD)
    assert card_from_json(text) == CARD
    assert card_to_json(card_from_json(text)) == text
    assert card_from_json(card_to_json(replace(CARD, calibration=None, ood_threshold=None))).calibration is None


def test_a_parsed_calibration_and_ood_threshold_work():
    card = card_from_json(card_to_json(CARD))
    assert card.calibration.probability(0.5) == CARD.calibration.probability(0.5)
    assert card.ood_threshold.threshold == 2.5


# --- format 1


def test_a_card_of_format_1_gets_a_linear_head_and_no_new_entries():
    card = card_from_json(json.dumps(as_format_1()))
    assert card == replace(CARD, head="linear", calibration=None, ood_threshold=None, match_confidence=None)
    assert card.format == CARD_FORMAT == 3


def test_a_card_of_format_1_is_written_in_the_current_format():
    text = card_to_json(card_from_json(json.dumps(as_format_1())))
    assert json.loads(text)["format"] == CARD_FORMAT
    assert card_from_json(text) == card_from_json(json.dumps(as_format_1()))


def test_a_folder_of_format_1_still_embeds(tmp_path):
    small_encoder(tmp_path / "small")
    path = tmp_path / "small" / "card.json"
    raw = {key: value for key, value in json.loads(path.read_text()).items() if key not in NEW_KEYS}
    path.write_text(json.dumps(raw | {"format": 1}))
    vectors, ood_score = load_embedder(tmp_path / "small", "onnx", threads=1).embed_with_ood([random_pixels(2)])
    assert vectors.shape == (2, 5)
    assert ood_score is None


def test_a_card_of_format_2_gets_no_match_confidence():
    raw = json.loads(card_to_json(CARD)) | {"format": 2}
    del raw["certainty"]
    assert card_from_json(json.dumps(raw)) == replace(CARD, match_confidence=None)


def test_a_card_of_format_2_with_a_certainty_is_corrupt():
    with raises_code(EncoderCorrupt, "card_entry", "format 2", "'certainty'"):
        card_from_json(changed(format=2))


@pytest.mark.parametrize(
    "change",
    [{"cosine": "3"}, {"lead": None}, {"queries": 2.5}, {"missed": 1.1}, {"found_out": -0.1}, {"more": 1.0}],
)
def test_an_invalid_certainty_is_corrupt(change):
    with pytest.raises(EncoderCorrupt):
        card_from_json(with_entry("certainty", **change))


@pytest.mark.parametrize("entry", NEW_KEYS)
def test_a_card_of_format_1_with_newer_entries_is_corrupt(entry):
    with pytest.raises(EncoderCorrupt):
        card_from_json(json.dumps(as_format_1() | {entry: json.loads(card_to_json(CARD))[entry]}))


@pytest.mark.parametrize("entry", NEW_KEYS)
def test_a_current_card_needs_all_entries(entry):
    raw = json.loads(card_to_json(CARD))
    del raw[entry]
    with pytest.raises((EncoderCorrupt, EncoderIncompatible)):
        card_from_json(json.dumps(raw))


# --- invalid entries


@pytest.mark.parametrize(
    "change",
    [
        {"cosines": [0.2, 0.6]},
        {"cosines": [0.8, 0.6, 0.2]},
        {"cosines": ["0.2", 0.6, 0.8]},
        {"cosines": [0.2, 0.6, 10**400]},
        {"cosines": 0.2},
        {"cosines": None},
        {"probabilities": [0.0, 0.9, 0.5]},
        {"probabilities": [0.0, 0.5, 1.5]},
        {"probabilities": [0.0, 0.5, float("nan")]},
        {"probabilities": [False, 0.5, True]},
        {"expected_calibration_error": "small"},
        {"expected_calibration_error": 2},
        {"pairs": 0},
        {"pairs": "many"},
        {"surprise": 1},
    ],
)
def test_an_invalid_calibration_is_corrupt(change):
    with pytest.raises(EncoderCorrupt):
        card_from_json(with_entry("calibration", **change))


@pytest.mark.parametrize(
    "change",
    [
        {"threshold": 0},
        {"threshold": -1},
        {"threshold": "high"},
        {"threshold": True},
        {"threshold": float("inf")},
        {"threshold": 10**400},
        {"accepted_share": 0},
        {"accepted_share": 1.5},
        {"accepted_share": None},
        {"surprise": 1},
    ],
)
def test_an_invalid_ood_threshold_is_corrupt(change):
    with pytest.raises(EncoderCorrupt):
        card_from_json(with_entry("strangeness", **change))


@pytest.mark.parametrize("entry", ["calibration", "strangeness"])
@pytest.mark.parametrize("value", [[], {}, "none", 1, False, {"threshold": 1}])
def test_an_entry_of_the_wrong_type_is_corrupt(entry, value):
    with pytest.raises(EncoderCorrupt):
        card_from_json(changed(**{entry: value}))


@pytest.mark.parametrize("head", ["hidden1024", None, 512, ["linear"]])
def test_an_unknown_head_is_incompatible(head):
    with raises_code(EncoderIncompatible, "card_choice", "head"):
        card_from_json(changed(head=head))


# --- labels


def test_a_classifier_has_a_label_for_each_output():
    labels = ["Hat", "Shoes"]
    card = card_from_json(changed(kind="classifier", dim=2, labels=labels))
    assert card.labels == ("Hat", "Shoes")


@pytest.mark.parametrize(
    ("kind", "dim", "labels"),
    [
        ("classifier", 3, ["Hat", "Shoes"]),
        ("classifier", 1, ["Hat", "Shoes"]),
        ("classifier", 2, ["Hat", "Hat"]),
        ("classifier", 2, []),
        ("metric", 2, ["Hat", "Shoes"]),
    ],
)
def test_labels_that_do_not_fit_the_outputs_are_corrupt(kind, dim, labels):
    with raises_code(EncoderCorrupt, "card_entry", "labels"):
        card_from_json(changed(kind=kind, dim=dim, labels=labels))
