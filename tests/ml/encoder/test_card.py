"""What later formats of the card brought, and cards of earlier ones; the rest is in test_encoder_folder.py."""

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
from tests.helpers.small_encoder import small_encoder, some_pixels

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
NEW = ("head", "calibration", "strangeness", "certainty")


def changed(**changes: object) -> str:
    return json.dumps(json.loads(card_to_json(CARD)) | changes)


def with_entry(entry: str, **changes: object) -> str:
    return changed(**{entry: json.loads(card_to_json(CARD))[entry] | changes})


def as_format_1() -> dict[str, object]:
    raw = json.loads(card_to_json(CARD)) | {"format": 1}
    return {key: value for key, value in raw.items() if key not in NEW}


def test_a_card_survives_the_way_through_text():
    text = card_to_json(CARD)
    assert card_from_json(text) == CARD
    assert card_to_json(card_from_json(text)) == text
    assert card_from_json(card_to_json(replace(CARD, calibration=None, ood_threshold=None))).calibration is None


def test_a_read_calibration_and_strangeness_work_like_the_written_ones():
    card = card_from_json(card_to_json(CARD))
    assert card.calibration.probability(0.5) == CARD.calibration.probability(0.5)
    assert card.ood_threshold.threshold == 2.5


# --- format 1


def test_a_card_of_format_1_is_read_as_one_with_a_plain_head_and_none_of_the_new_entries():
    card = card_from_json(json.dumps(as_format_1()))
    assert card == replace(CARD, head="linear", calibration=None, ood_threshold=None, match_confidence=None)
    assert card.format == CARD_FORMAT == 3


def test_a_card_of_format_1_is_written_as_one_of_today():
    text = card_to_json(card_from_json(json.dumps(as_format_1())))
    assert json.loads(text)["format"] == CARD_FORMAT
    assert card_from_json(text) == card_from_json(json.dumps(as_format_1()))


def test_a_folder_of_format_1_still_embeds(tmp_path):
    small_encoder(tmp_path / "small")
    path = tmp_path / "small" / "card.json"
    raw = {key: value for key, value in json.loads(path.read_text()).items() if key not in NEW}
    path.write_text(json.dumps(raw | {"format": 1}))
    vectors, strangeness = load_embedder(tmp_path / "small", "onnx", threads=1).embed_with_ood([some_pixels(2)])
    assert vectors.shape == (2, 5)
    assert strangeness is None


def test_a_card_of_format_2_is_read_as_one_that_is_never_certain():
    raw = json.loads(card_to_json(CARD)) | {"format": 2}
    del raw["certainty"]
    assert card_from_json(json.dumps(raw)) == replace(CARD, match_confidence=None)


def test_format_2_knows_no_certainty():
    with raises_code(EncoderCorrupt, "card_entry", "format 2", "'certainty'"):
        card_from_json(changed(format=2))


@pytest.mark.parametrize(
    "change",
    [{"cosine": "3"}, {"lead": None}, {"queries": 2.5}, {"missed": 1.1}, {"found_out": -0.1}, {"more": 1.0}],
)
def test_a_certainty_that_is_none_is_corrupt(change):
    with pytest.raises(EncoderCorrupt):
        card_from_json(with_entry("certainty", **change))


@pytest.mark.parametrize("entry", NEW)
def test_format_1_knows_none_of_the_new_entries(entry):
    with pytest.raises(EncoderCorrupt):
        card_from_json(json.dumps(as_format_1() | {entry: json.loads(card_to_json(CARD))[entry]}))


@pytest.mark.parametrize("entry", NEW)
def test_a_card_of_today_needs_all_of_the_new_entries(entry):
    raw = json.loads(card_to_json(CARD))
    del raw[entry]
    with pytest.raises((EncoderCorrupt, EncoderIncompatible)):
        card_from_json(json.dumps(raw))


# --- entries that are not what they must be


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
def test_a_calibration_that_is_no_curve_is_corrupt(change):
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
def test_a_strangeness_that_makes_no_sense_is_corrupt(change):
    with pytest.raises(EncoderCorrupt):
        card_from_json(with_entry("strangeness", **change))


@pytest.mark.parametrize("entry", ["calibration", "strangeness"])
@pytest.mark.parametrize("value", [[], {}, "none", 1, False, {"threshold": 1}])
def test_an_entry_that_is_no_such_object_is_corrupt(entry, value):
    with pytest.raises(EncoderCorrupt):
        card_from_json(changed(**{entry: value}))


@pytest.mark.parametrize("head", ["hidden1024", None, 512, ["linear"]])
def test_another_head_is_incompatible(head):
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
