"""Registering encoder folders."""

import json
from pathlib import Path
from typing import Any

import pytest
from pytest_django import Settings

from catalog.errors import Refused
from catalog.models import Encoder, EncoderState
from catalog.services.encoders.register import encoder_register
from tests.helpers.errors import raises_code
from tests.helpers.factories import DIM

pytestmark = pytest.mark.django_db

CARD = {"kind": "metric", "dim": DIM, "files": {"model.onnx": "0" * 64}}


@pytest.fixture(autouse=True)
def places(tmp_path: Path, settings: Settings) -> list[Path]:
    settings.ENCODER_DIRS = [tmp_path / "own", tmp_path / "shipped"]
    return list(settings.ENCODER_DIRS)


def folder(place: Path, name: str = "enc") -> Path:
    path = place / name
    path.mkdir(parents=True)
    (path / "card.json").write_text(json.dumps(CARD))
    return path


def test_a_folder_from_elsewhere_is_copied_whole_and_becomes_a_candidate(tmp_path: Path, places: list[Path]) -> None:
    encoder = encoder_register(folder=folder(tmp_path / "download"), card=CARD)
    assert (encoder.name, encoder.state, encoder.dim) == ("enc", EncoderState.CANDIDATE, DIM)
    assert encoder.folder == places[0] / "enc"
    assert [path.name for path in places[0].iterdir()] == ["enc"]


def test_a_folder_in_an_encoder_dir_stays_there(places: list[Path]) -> None:
    encoder = encoder_register(folder=folder(places[1]), card=CARD)
    assert encoder.folder == places[1] / "enc"
    assert not places[0].exists()


@pytest.mark.database
def test_registering_is_idempotent(places: list[Path]) -> None:
    place = folder(places[1])
    assert encoder_register(folder=place, card=CARD) == encoder_register(folder=place, card=CARD)
    assert Encoder.objects.count() == 1


def test_other_files_under_a_registered_name_are_refused(places: list[Path]) -> None:
    place = folder(places[1])
    encoder_register(folder=place, card=CARD)
    with raises_code(Refused, "encoder_name_taken", "'enc'"):
        encoder_register(folder=place, card={**CARD, "files": {"model.onnx": "1" * 64}})


def test_a_registered_classifier_does_not_embed_the_catalogue(
    places: list[Path], django_capture_on_commit_callbacks: Any
) -> None:
    with django_capture_on_commit_callbacks() as sent:
        encoder = encoder_register(folder=folder(places[1]), card={**CARD, "kind": "classifier"})
    assert sent == []
    assert encoder not in Encoder.objects.in_use()
