"""Encoders: one live encoder, and claims on writing its embeddings."""

from pathlib import Path

import pytest
from django.db import IntegrityError, transaction
from pytest_django import Settings

from catalog.errors import ClaimLost
from catalog.models import Encoder, EncoderState
from tests.helpers.factories import make_embedding, make_encoder, make_item_photo, unit

pytestmark = [pytest.mark.django_db, pytest.mark.database]


def test_at_most_one_encoder_is_live() -> None:
    make_encoder(state=EncoderState.LIVE)
    with pytest.raises(IntegrityError), transaction.atomic():
        make_encoder(state=EncoderState.LIVE)


def test_an_encoder_is_claimed_by_one_worker_at_a_time() -> None:
    encoder = make_encoder()
    claimed = encoder.claim("gpu@one")
    assert claimed is not None
    assert encoder.claim("gpu@two") is None
    claimed.release_claim()
    assert encoder.claim("gpu@two") is not None


def test_a_lost_claim_cannot_be_extended() -> None:
    encoder = make_encoder()
    claimed = encoder.claim("gpu@one")
    assert claimed is not None
    Encoder.objects.held_by("gpu@one").release_claims()
    with pytest.raises(ClaimLost):
        claimed.renew_claim()


def test_each_write_of_embeddings_increments_the_revision() -> None:
    claimed = make_encoder().claim("gpu@one")
    assert claimed is not None
    claimed.renew_claim()
    claimed.renew_claim()
    assert Encoder.objects.get(pk=claimed.pk).revision == 2


def test_photos_without_an_embedding_of_this_encoder_are_missing() -> None:
    encoder, other = make_encoder(), make_encoder()
    embedded, missing = make_item_photo(), make_item_photo()
    make_embedding(encoder, unit(1), embedded)
    make_embedding(other, unit(1), missing)
    assert list(encoder.missing_photos()) == [missing]


def test_photos_that_are_not_searchable_are_not_missing() -> None:
    make_item_photo().item.mark_deleted()
    make_item_photo(problem="FileNotFoundError: gone")
    assert not make_encoder().missing_photos().exists()


def test_a_retired_encoder_is_not_in_use() -> None:
    make_encoder(state=EncoderState.RETIRED)
    live, candidate = make_encoder(state=EncoderState.LIVE), make_encoder()
    assert set(Encoder.objects.in_use()) == {live, candidate}


def test_the_folder_is_found_in_the_first_encoder_dir_that_has_it(tmp_path: Path, settings: Settings) -> None:
    settings.ENCODER_DIRS = [tmp_path / "own", tmp_path / "shipped"]
    for place in settings.ENCODER_DIRS:
        (place / "enc").mkdir(parents=True)
        (place / "enc" / "card.json").write_text("{}")
    assert Encoder(name="enc").folder == tmp_path / "own" / "enc"
    with pytest.raises(FileNotFoundError, match="'other'"):
        _ = Encoder(name="other").folder
