"""The vectors in memory follow the rows."""

import numpy as np
import pytest

from catalog.models import Embedding, Encoder
from ml.search import EncoderMismatch
from tests.factories import DIM, make_embedding, make_encoder, unit
from worker import index
from worker.index import CatalogIndex, index_of

pytestmark = [pytest.mark.django_db, pytest.mark.database]


def photos_of(catalog_index: CatalogIndex) -> list[int]:
    vectors = catalog_index.refresh()
    return sorted(hit.photo_id for hit in vectors.search(unit(1), 100, encoder=catalog_index.encoder.name))


@pytest.fixture
def encoder() -> Encoder:
    return make_encoder()


def test_it_starts_empty_and_takes_in_what_is_written_later(encoder: Encoder) -> None:
    catalog_index = CatalogIndex(encoder)
    assert photos_of(catalog_index) == []
    first = make_embedding(encoder, unit(1))
    assert photos_of(catalog_index) == [first.photo_id]
    second = make_embedding(encoder, unit(0, 1))
    assert photos_of(catalog_index) == sorted([first.photo_id, second.photo_id])


def test_it_holds_the_vectors_of_its_encoder_alone(encoder: Encoder) -> None:
    make_embedding(make_encoder(), unit(1))
    mine = make_embedding(encoder, unit(1))
    assert photos_of(CatalogIndex(encoder)) == [mine.photo_id]


def test_a_question_about_another_encoder_is_an_error(encoder: Encoder) -> None:
    with pytest.raises(EncoderMismatch):
        CatalogIndex(encoder).refresh().search(unit(1), 1, encoder="another")


def test_it_reads_more_rows_than_fit_one_chunk(encoder: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "_CHUNK", 2)
    made = [make_embedding(encoder, unit(1, number)) for number in range(5)]
    assert photos_of(CatalogIndex(encoder)) == [embedding.photo_id for embedding in made]


def test_a_vector_that_was_made_again_replaces_the_old_one(encoder: Encoder) -> None:
    catalog_index = CatalogIndex(encoder)
    old = make_embedding(encoder, unit(1))
    assert photos_of(catalog_index) == [old.photo_id]
    photo = old.photo
    old.delete()
    Embedding.objects.bulk_create(
        [Embedding(pk=old.photo_id + 1000, encoder=encoder, photo=photo, item=photo.item, vector=unit(0, 1).tobytes())]
    )
    assert photos_of(catalog_index) == [photo.pk]
    assert np.allclose(catalog_index.refresh().vectors_of([photo.pk])[0], unit(0, 1))


def test_photos_that_are_gone_can_be_forgotten(encoder: Encoder) -> None:
    catalog_index = CatalogIndex(encoder)
    kept, gone = make_embedding(encoder, unit(1)), make_embedding(encoder, unit(0, 1))
    assert len(photos_of(catalog_index)) == 2
    catalog_index.forget([gone.photo_id])
    assert photos_of(catalog_index) == [kept.photo_id]


def test_a_stored_vector_has_four_bytes_a_number(encoder: Encoder) -> None:
    stored = make_embedding(encoder, unit(3, 4))
    stored.refresh_from_db()
    assert len(bytes(stored.vector)) == 4 * DIM
    assert np.frombuffer(bytes(stored.vector), "<f4").tolist() == pytest.approx([0.6, 0.8, 0, 0])


def test_the_indexes_that_were_used_last_are_kept() -> None:
    first, *others = [make_encoder() for _ in range(index.KEPT)]
    kept = index_of(first)
    second = index_of(others[0])
    for encoder in others[1:]:
        index_of(encoder)
    assert index_of(first) is kept  # and so it was used last
    index_of(make_encoder())
    assert index_of(first) is kept
    assert index_of(others[0]) is not second
