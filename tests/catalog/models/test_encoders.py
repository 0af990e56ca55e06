"""One live encoder, one worker at a time writing its vectors."""

from pathlib import Path

import pytest
from django.db import IntegrityError, transaction
from pytest_django import Settings

from catalog.errors import ClaimLost
from catalog.models import Encoder, EncoderState
from tests.helpers.factories import make_embedding, make_encoder, make_item_photo, unit

pytestmark = [pytest.mark.django_db, pytest.mark.database]


def test_there_is_one_live_encoder_at_most() -> None:
    make_encoder(state=EncoderState.LIVE)
    with pytest.raises(IntegrityError), transaction.atomic():
        make_encoder(state=EncoderState.LIVE)


def test_an_encoder_is_claimed_by_one_worker_at_a_time() -> None:
    encoder = make_encoder()
    mine = encoder.claim("gpu@one")
    assert mine is not None
    assert encoder.claim("gpu@two") is None
    mine.release()
    assert encoder.claim("gpu@two") is not None


def test_a_lost_claim_cannot_be_renewed() -> None:
    encoder = make_encoder()
    mine = encoder.claim("gpu@one")
    assert mine is not None
    Encoder.objects.held_by("gpu@one").release()
    with pytest.raises(ClaimLost):
        mine.renew_claim()


def test_each_write_of_vectors_counts_the_revision_up() -> None:
    mine = make_encoder().claim("gpu@one")
    assert mine is not None
    mine.renew_claim()
    mine.renew_claim()
    assert Encoder.objects.get(pk=mine.pk).revision == 2


def test_missing_photos_are_those_without_a_vector_of_this_encoder() -> None:
    encoder, other = make_encoder(), make_encoder()
    embedded, missing = make_item_photo(), make_item_photo()
    make_embedding(encoder, unit(1), embedded)
    make_embedding(other, unit(1), missing)
    assert list(encoder.missing_photos()) == [missing]


def test_photos_of_deleted_items_and_unreadable_ones_are_not_missing() -> None:
    make_item_photo().item.mark_deleted()
    make_item_photo(problem="FileNotFoundError: gone")
    assert not make_encoder().missing_photos().exists()


def test_a_retired_encoder_is_not_kept_complete() -> None:
    make_encoder(state=EncoderState.RETIRED)
    live, candidate = make_encoder(state=EncoderState.LIVE), make_encoder()
    assert set(Encoder.objects.in_use()) == {live, candidate}


def test_its_folder_is_the_first_of_its_name(tmp_path: Path, settings: Settings) -> None:
    settings.ENCODER_DIRS = [tmp_path / "own", tmp_path / "shipped"]
    for place in settings.ENCODER_DIRS:
        (place / "enc").mkdir(parents=True)
        (place / "enc" / "card.json").write_text("{}")
    assert Encoder(name="enc").folder == tmp_path / "own" / "enc"
    with pytest.raises(FileNotFoundError, match="'other'"):
        _ = Encoder(name="other").folder
