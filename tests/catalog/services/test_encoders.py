"""Making encoders known, and choosing the one that answers."""

import json
from pathlib import Path

import pytest
from pytest_django import Settings

from catalog.errors import Refused
from catalog.models import Encoder, EncoderState
from catalog.services.encoders import encoder_promote, encoder_register
from tests.factories import DIM, make_embedding, make_encoder, make_item_photo, unit

pytestmark = [pytest.mark.django_db, pytest.mark.database]

CARD = {"kind": "metric", "dim": DIM, "files": {"model.onnx": "0" * 64}}


@pytest.fixture(autouse=True)
def places(tmp_path: Path, settings: Settings) -> list[Path]:
    settings.ENCODER_DIRS = [tmp_path / "own", tmp_path / "shipped"]
    return list(settings.ENCODER_DIRS)


def folder(place: Path, name: str = "enc") -> Path:
    made = place / name
    made.mkdir(parents=True)
    (made / "card.json").write_text(json.dumps(CARD))
    return made


def test_a_folder_from_elsewhere_is_copied_whole_and_becomes_a_candidate(tmp_path: Path, places: list[Path]) -> None:
    encoder = encoder_register(folder=folder(tmp_path / "download"), card=CARD)
    assert (encoder.name, encoder.state, encoder.dim) == ("enc", EncoderState.CANDIDATE, DIM)
    assert encoder.folder == places[0] / "enc"
    assert [path.name for path in places[0].iterdir()] == ["enc"]


def test_a_folder_that_lies_where_the_workers_look_stays_there(places: list[Path]) -> None:
    encoder = encoder_register(folder=folder(places[1]), card=CARD)
    assert encoder.folder == places[1] / "enc"
    assert not places[0].exists()


def test_registering_again_changes_nothing(places: list[Path]) -> None:
    place = folder(places[1])
    assert encoder_register(folder=place, card=CARD) == encoder_register(folder=place, card=CARD)
    assert Encoder.objects.count() == 1


def test_other_files_under_a_known_name_are_refused(places: list[Path]) -> None:
    place = folder(places[1])
    encoder_register(folder=place, card=CARD)
    with pytest.raises(Refused) as refusal:
        encoder_register(folder=place, card={**CARD, "files": {"model.onnx": "1" * 64}})
    assert refusal.value.code == "encoder_name_taken"


def test_the_first_encoder_goes_live_even_before_the_catalogue_is_embedded() -> None:
    make_item_photo()
    encoder = make_encoder()
    encoder_promote(encoder=encoder)
    assert Encoder.objects.live() == encoder


def test_an_encoder_that_lacks_vectors_does_not_replace_one_that_answers() -> None:
    live = make_encoder(state=EncoderState.LIVE)
    make_embedding(live, unit(1))
    with pytest.raises(Refused, match="1 photos have no vector") as refusal:
        encoder_promote(encoder=make_encoder())
    assert refusal.value.code == "encoder_coverage"
    assert Encoder.objects.live() == live


def test_a_complete_encoder_replaces_the_live_one_which_keeps_its_vectors_and_can_come_back() -> None:
    before, after = make_encoder(state=EncoderState.LIVE), make_encoder()
    photo = make_item_photo()
    make_embedding(before, unit(1), photo)
    make_embedding(after, unit(0, 1), photo)
    encoder_promote(encoder=after)
    before.refresh_from_db()
    assert (Encoder.objects.live(), before.state) == (after, EncoderState.RETIRED)
    encoder_promote(encoder=before)
    assert Encoder.objects.live() == before
    assert after.embeddings.count() == 1


def test_promoting_the_live_encoder_changes_nothing() -> None:
    live = make_encoder(state=EncoderState.LIVE)
    encoder_promote(encoder=live)
    assert Encoder.objects.live() == live


def test_a_classifier_cannot_answer_queries() -> None:
    with pytest.raises(Refused) as refusal:
        encoder_promote(encoder=make_encoder(kind="classifier"))
    assert refusal.value.code == "encoder_kind"
