"""Encoder folders: round trips, damaged and malicious folders, and atomic writing."""

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ml.encoder.card import Card, card_from_json, card_to_json
from ml.encoder.folder import check_folder, read_card, read_onnx, read_weights, write_encoder
from ml.formats.encoder_folder import EncoderCorrupt, EncoderError, EncoderIncompatible
from ml.images.preprocess import Preprocess
from tests.helpers.errors import raises_code

CARD = Card(
    name="tiny-pca2",
    kind="metric",
    backbone="none",
    pooling="mean",
    dim=2,
    preprocessing=Preprocess(4, 4, "crop", "bicubic", (127.0, 127.0, 127.0), (128.0, 128.0, 128.0)),
    metrics={"near10": 0.5},
    data="drawn pictures",
    data_sha256="0" * 64,
    software={"numpy": "2"},
    command="python -m ml fit-pretrained",
    notes=("A note with an umlaut: ü.",),
)
WEIGHTS = {"head.weight": np.ones((2, 3), dtype=np.float16), "head.bias": np.zeros(2, dtype=np.float32)}


@pytest.fixture
def folder(tmp_path) -> Path:
    write_encoder(tmp_path / "tiny-pca2", CARD, WEIGHTS, b"an onnx model")
    return tmp_path / "tiny-pca2"


def changed_card(folder: Path, **changes) -> None:
    path = folder / "card.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_written_folder_is_read_back(folder):
    card = check_folder(folder)
    assert replace(card, files={}) == CARD
    assert read_onnx(folder, card) == b"an onnx model"
    weights = read_weights(folder, card)
    assert {key: (array.dtype, array.tolist()) for key, array in weights.items()} == {
        key: (array.dtype, array.tolist()) for key, array in WEIGHTS.items()
    }


def test_weights_with_another_memory_layout_are_read_back_unchanged(tmp_path):
    """Weights trained with channels last are not contiguous."""
    filters = np.arange(2 * 3 * 4 * 5, dtype=np.float16).reshape(2, 4, 5, 3).transpose(0, 3, 1, 2)
    assert not filters.flags.c_contiguous
    card = write_encoder(tmp_path / "last", CARD, {"filters": filters}, b"an onnx model")
    assert np.array_equal(read_weights(tmp_path / "last", card)["filters"], filters)


def test_the_card_survives_a_round_trip_through_json(folder):
    card = read_card(folder)
    assert card_from_json(card_to_json(card)) == card


def test_the_same_encoder_gives_the_same_bytes(folder, tmp_path):
    write_encoder(tmp_path / "again", CARD, WEIGHTS, b"an onnx model")
    for path in folder.iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes()


def test_the_identifier_depends_on_the_weights(folder, tmp_path):
    other = write_encoder(
        tmp_path / "b", CARD, {**WEIGHTS, "head.bias": np.ones(2, dtype=np.float32)}, b"an onnx model"
    )
    card = read_card(folder)
    assert card.identifier == f"tiny-pca2@{card.files['weights.safetensors'][:12]}"
    assert card.identifier != other.identifier


# --- damaged folders


@pytest.mark.parametrize("name", ["weights.safetensors", "model.onnx"])
def test_a_changed_byte_is_detected(folder, name):
    path = folder / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with raises_code(EncoderCorrupt, "sha256", name):
        check_folder(folder)


@pytest.mark.parametrize("name", ["weights.safetensors", "model.onnx", "card.json"])
def test_a_missing_file_is_detected(folder, name):
    (folder / name).unlink()
    with raises_code(EncoderCorrupt, "file_missing", name):
        check_folder(folder)


@pytest.mark.parametrize("name", ["weights.safetensors", "model.onnx"])
def test_a_truncated_file_is_detected(folder, name):
    os.truncate(folder / name, 5)
    with pytest.raises(EncoderCorrupt):
        check_folder(folder)


@pytest.mark.parametrize("content", [b"", b"\xff" * 100, b"\x08\x00\x00\x00\x00\x00\x00\x00not json"])
def test_weights_in_another_format_are_detected(folder, content):
    import hashlib

    (folder / "weights.safetensors").write_bytes(content)
    files = json.loads((folder / "card.json").read_text())["files"]
    changed_card(folder, files=files | {"weights.safetensors": hashlib.sha256(content).hexdigest()})
    with raises_code(EncoderCorrupt, "weights_unreadable"):
        read_weights(folder, check_folder(folder))


def test_a_missing_folder_is_corrupt(tmp_path):
    with raises_code(EncoderCorrupt, "folder_missing"):
        check_folder(tmp_path / "nothing")


def test_a_file_instead_of_a_folder_is_corrupt(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(EncoderCorrupt):
        read_card(tmp_path / "file")


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"card"', "[" * 100_000, "\x00"])
def test_a_card_that_is_not_a_json_object_is_corrupt(folder, text):
    (folder / "card.json").write_text(text)
    with pytest.raises(EncoderCorrupt):
        read_card(folder)


def test_a_card_that_is_not_text_is_corrupt(folder):
    (folder / "card.json").write_bytes(b"\xff\xfe\x00")
    with raises_code(EncoderCorrupt, "card_encoding"):
        read_card(folder)


def test_an_enormous_card_is_not_read(folder):
    os.truncate(folder / "card.json", 1 << 30)
    with raises_code(EncoderCorrupt, "file_too_large"):
        read_card(folder)


@pytest.mark.parametrize(
    "change",
    [
        {"dim": 0},
        {"dim": "100"},
        {"dim": True},
        {"dim": 10**9},
        {"name": "../../etc"},
        {"name": ""},
        {"labels": "T-shirt"},
        {"labels": [1]},
        {"metrics": {"near10": "good"}},
        {"metrics": {"near10": float("nan")}},
        {"metrics": []},
        {"preprocessing": {}},
        {"preprocessing": None},
        {"software": {"torch": 2}},
        {"notes": "one"},
        {"surprise": 1},
    ],
)
def test_an_invalid_entry_is_corrupt(folder, change):
    changed_card(folder, **change)
    with pytest.raises(EncoderCorrupt):
        read_card(folder)


@pytest.mark.parametrize("entry", ["height", "mean", "resize"])
def test_damaged_preprocessing_is_corrupt(folder, entry):
    raw = json.loads((folder / "card.json").read_text())["preprocessing"]
    for wrong in (raw | {entry: None}, {key: raw[key] for key in raw if key != entry}, raw | {"extra": 1}):
        changed_card(folder, preprocessing=wrong)
        with pytest.raises(EncoderCorrupt):
            read_card(folder)


@pytest.mark.parametrize("entry", sorted(set(json.loads(card_to_json(CARD))) - {"format"}))
def test_every_entry_is_required(folder, entry):
    raw = json.loads((folder / "card.json").read_text())
    del raw[entry]
    (folder / "card.json").write_text(json.dumps(raw))
    with pytest.raises(EncoderError):
        read_card(folder)


# --- folders of another version


@pytest.mark.parametrize(
    "change",
    [
        {"format": 4},
        {"format": 0},
        {"format": True},
        {"format": 2.0},
        {"format": "2"},
        {"format": None},
        {"kind": "generator"},
        {"distance": "euclid"},
        {"head": "hidden1024"},
        {"head": None},
    ],
)
def test_another_format_or_kind_is_incompatible_and_not_corrupt(folder, change):
    changed_card(folder, **change)
    with pytest.raises(EncoderIncompatible):
        check_folder(folder)


# --- malicious folders


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "model.onnx/../../secret", "weights.pickle"])
def test_the_card_cannot_name_files_outside_the_folder(folder, name):
    (folder.parent / "secret").write_text("x")
    files = json.loads((folder / "card.json").read_text())["files"]
    for listed in (files | {name: "0" * 64}, {name: "0" * 64, "model.onnx": "0" * 64}):
        changed_card(folder, files=listed)
        with pytest.raises(EncoderCorrupt):
            check_folder(folder)


@pytest.mark.parametrize("name", ["card.json", "weights.safetensors", "model.onnx"])
def test_a_link_is_not_followed(folder, name):
    target = folder.parent / "elsewhere"
    (folder / name).rename(target)
    (folder / name).symlink_to(target)
    with raises_code(EncoderCorrupt, "file_missing", name):
        check_folder(folder)


# --- writing


def test_a_card_that_could_not_be_read_back_is_not_written(tmp_path):
    for wrong in ({"name": "a name"}, {"metrics": {"near10": float("nan")}}):
        with pytest.raises(EncoderCorrupt):
            write_encoder(tmp_path / "new", replace(CARD, **wrong), WEIGHTS, b"model")
    assert list(tmp_path.iterdir()) == []


def test_an_existing_folder_is_not_overwritten(folder):
    before = (folder / "card.json").read_bytes()
    with raises_code(EncoderError, "folder_exists"):
        write_encoder(folder, replace(CARD, dim=3), WEIGHTS, b"other")
    assert (folder / "card.json").read_bytes() == before


def test_the_remains_of_an_interrupted_attempt_are_removed(tmp_path):
    stale = tmp_path / "new.part"
    stale.mkdir()
    (stale / "rest").write_text("x")
    write_encoder(tmp_path / "new", CARD, WEIGHTS, b"model")
    assert {path.name for path in (tmp_path / "new").iterdir()} == {"card.json", "weights.safetensors", "model.onnx"}
    assert not stale.exists()


def test_a_half_written_folder_is_never_visible(tmp_path, monkeypatch):
    """The disk fills up at the second file."""
    written = []

    def full(descriptor: int) -> None:
        written.append(descriptor)
        assert not (tmp_path / "new").exists()
        if len(written) == 2:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("ml.formats.atomic_files.os.fsync", full)
    with raises_code(EncoderError, "folder_unwritable", "No space left"):
        write_encoder(tmp_path / "new", CARD, WEIGHTS, b"model")
    assert list(tmp_path.iterdir()) == []


def test_an_unwritable_place_is_reported(tmp_path):
    (tmp_path / "file").write_text("x")
    with raises_code(EncoderError, "folder_unwritable"):
        write_encoder(tmp_path / "file" / "new", CARD, WEIGHTS, b"model")
