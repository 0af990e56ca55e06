"""Embeddings of queries and of the catalogue, with the shipped encoder."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.conf import settings as django_settings
from django.core.management import call_command
from PIL import Image

from catalog import tasks
from catalog.errors import ClaimLost, IllegalTransition, Refused
from catalog.models import Embedding, Encoder, ItemPhoto, QueryState, SimilarityQuery
from catalog.photos.colour import colour_distance, rgb_to_lab
from demo.sample import draw_photo, sample_items
from ml.inference.embedder import Embedder
from tests.helpers.errors import raises_code
from tests.helpers.factories import (
    jpeg,
    make_embedding,
    make_encoder,
    make_item,
    make_item_photo,
    make_query,
    make_upload,
    make_user,
    unit,
)
from tests.helpers.pictures import jpeg_of
from worker.encoders import embedding
from worker.encoders.embedding import BATCH, embed_missing, embed_query, open_photo
from worker.encoders.loaded import embedder_of
from worker.tasks import search, sweep

pytestmark = pytest.mark.django_db

SHIPPED = django_settings.BASE_DIR / "ml" / "encoders" / django_settings.DEFAULT_ENCODER
LEFT = {"x": 0.0, "y": 0.0, "width": 0.5, "height": 1.0}


@pytest.fixture
def encoder() -> Encoder:
    call_command("register_encoder", SHIPPED, live=True, verbosity=0)
    return Encoder.objects.get()


def drawing(number: int, view: int = 0) -> Image.Image:
    return draw_photo(sample_items(12)[number], view)


def vector_of(query: SimilarityQuery, encoder: Encoder) -> np.ndarray:
    return np.frombuffer(embed_query(query, encoder).vector, "<f4")


def side_by_side(left: Image.Image, right: Image.Image) -> Image.Image:
    both = Image.new("RGB", (2 * left.width, left.height))
    both.paste(left, (0, 0))
    both.paste(right.resize(left.size), (left.width, 0))
    return both


def query_about(image: Image.Image, **columns: Any) -> SimilarityQuery:
    measures = {"width": image.width, "height": image.height}
    upload = make_upload(content=jpeg_of(image))
    type(upload).objects.filter(pk=upload.pk).update(**measures)
    upload.refresh_from_db()
    return make_query(upload, **columns)


def test_only_the_crop_of_a_photo_is_embedded(encoder: Encoder) -> None:
    shirt, other = drawing(0), drawing(5)
    both = side_by_side(shirt, other)
    alone = vector_of(query_about(shirt), encoder)
    cropped, whole = vector_of(query_about(both, crop=LEFT), encoder), vector_of(query_about(both), encoder)
    assert alone @ cropped > 0.98
    assert alone @ whole < alone @ cropped


def test_a_crop_is_decoded_in_as_much_detail_as_the_photo_has() -> None:
    upload = make_upload(content=jpeg_of(Image.new("RGB", (2048, 2048))))
    assert open_photo(upload).size == (512, 512)
    corner = {"x": 0.75, "y": 0.75, "width": 0.25, "height": 0.25}
    assert open_photo(upload, corner).size == (512, 512)
    assert open_photo(upload, {**corner, "width": 0.2, "height": 0.1}).size == (410, 205)
    assert open_photo(upload, side=256).size == (256, 256)
    assert open_photo(upload, corner, side=257).size == (512, 512)


def test_the_colour_is_that_of_the_crop(encoder: Encoder) -> None:
    both = side_by_side(Image.new("RGB", (200, 200), "red"), Image.new("RGB", (200, 200), "blue"))
    for crop, rgb in ((LEFT, (255, 0, 0)), ({**LEFT, "x": 0.5}, (0, 0, 255))):
        colour = embed_query(query_about(both, crop=crop), encoder).colour_lab
        assert colour is not None
        assert colour_distance(colour, list(rgb_to_lab(rgb))) < 3


def test_a_crop_of_a_fetched_photo_that_is_too_small_is_refused(encoder: Encoder) -> None:
    query = query_about(Image.new("RGB", (100, 100)), crop={"x": 0.0, "y": 0.0, "width": 0.1, "height": 0.1})
    with raises_code(Refused, "crop_too_small"):
        embed_query(query, encoder)


def test_several_photos_have_the_mean_of_their_vectors(encoder: Encoder) -> None:
    pictures = [drawing(3, view) for view in range(3)]
    alone = [vector_of(query_about(picture), encoder) for picture in pictures]
    query = query_about(pictures[0])
    query.more_photos.add(*[make_upload(query.owner, content=jpeg_of(picture)) for picture in pictures[1:]])
    together = vector_of(query, encoder)
    expected = np.mean(alone, axis=0)
    assert together == pytest.approx(expected / np.linalg.norm(expected), abs=1e-4)
    assert np.linalg.norm(together) == pytest.approx(1, abs=1e-5)


def test_an_item_has_the_mean_of_its_stored_vectors() -> None:
    encoder, item = make_encoder(), make_item()
    for vector, colour in ((unit(1, 0), None), (unit(0, 1), [50.0, 1.0, 2.0])):
        make_embedding(encoder, vector, make_item_photo(item, colour_lab=colour))
    make_embedding(make_encoder(), unit(0, 0, 1), item.photos.all()[0])
    embedded = embed_query(make_query(item=item, owner=make_user()), encoder)
    assert np.frombuffer(embedded.vector, "<f4") == pytest.approx(unit(1, 1), abs=1e-6)
    assert embedded.colour_lab == [50.0, 1.0, 2.0]


def test_an_item_that_is_not_embedded_fails_with_a_reason(encoder: Encoder) -> None:
    query = make_query(item=make_item_photo().item, owner=make_user())
    search.embed_query(str(query.pk))
    query.refresh_from_db()
    assert (query.state, query.error_code) == (QueryState.FAILED, "item_not_embedded")


def test_a_query_about_an_item_is_embedded_and_searched(encoder: Encoder) -> None:
    photos = [make_item_photo(content=jpeg_of(drawing(number))) for number in range(4)]
    search.embed_catalog(encoder.pk)
    query = make_query(item=photos[1].item, owner=make_user(), k=10)
    search.embed_query(str(query.pk))
    search.search_query(str(query.pk))
    query.refresh_from_db()
    assert query.state == QueryState.DONE
    assert {row.item_id for row in query.recommendations.all()} == {photos[n].item_id for n in (0, 2, 3)}
    assert all(row.probability is not None for row in query.recommendations.all())
    assert all(row.why["colour_distance"] is not None for row in query.recommendations.all())
    assert query.outcome in {"close_match", "no_close_match"}


def test_photos_of_the_catalogue_get_their_colours_with_their_vectors(encoder: Encoder) -> None:
    green, known = make_item_photo(content=jpeg_of(Image.new("RGB", (80, 80), "green"))), make_item_photo()
    ItemPhoto.objects.filter(pk=known.pk).update(colour_lab=[1.0, 2.0, 3.0])
    search.embed_catalog(encoder.pk)
    green.refresh_from_db()
    known.refresh_from_db()
    assert colour_distance(green.colour_lab, list(rgb_to_lab((0, 128, 0)))) < 2
    assert known.colour_lab == [1.0, 2.0, 3.0]


@pytest.mark.database
def test_photos_without_a_colour_get_it_in_small_batches(encoder: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[int] = []
    monkeypatch.setattr(tasks, "send_embed_catalog", sent.append)
    photos = [make_item_photo(content=jpeg("green")) for _ in range(BATCH + 2)]
    for photo in photos:
        make_embedding(encoder, unit(1), photo)
    photos[1].file.delete(save=False)
    sweep.sweep()
    assert sent == [encoder.pk]  # no vector is missing, but colours are
    search.embed_catalog(encoder.pk)
    assert ItemPhoto.objects.exclude(colour_lab=None).count() == BATCH - 1  # one file is lost
    search.embed_catalog(encoder.pk)
    photos[-1].refresh_from_db()
    assert colour_distance(photos[-1].colour_lab, list(rgb_to_lab((0, 128, 0)))) < 2
    assert list(ItemPhoto.objects.filter(colour_lab__isnull=True)) == [photos[1]]
    assert Embedding.objects.filter(vector=unit(1).tobytes()).count() == len(photos)
    sent.clear()
    sweep.sweep()
    search.embed_catalog(encoder.pk)
    assert sent == []


def record_embedding(query: SimilarityQuery, encoder: Encoder) -> SimilarityQuery:
    embedded = embed_query(query, encoder)
    columns = {
        "vector": embedded.vector,
        "colour_lab": embedded.colour_lab,
        "guess": embedded.guess,
        "encoder": encoder,
    }
    SimilarityQuery.objects.filter(pk=query.pk).update(**columns)
    return query


def repeat_query(query: SimilarityQuery, **columns: Any) -> SimilarityQuery:
    """Another query about the same photo, read from the database as a worker reads it."""
    return SimilarityQuery.objects.get(pk=make_query(query.photo, **columns).pk)


def test_the_vector_of_an_earlier_query_is_reused(encoder: Encoder) -> None:
    whole = record_embedding(query_about(drawing(2)), encoder)
    cropped = record_embedding(repeat_query(whole, crop=LEFT), encoder)
    embedded = {query: embed_query(query, encoder) for query in (whole, cropped)}
    Path(whole.photo.file.path).unlink()
    assert embed_query(repeat_query(whole), encoder) == embedded[whole]
    assert embed_query(repeat_query(whole, crop=LEFT), encoder) == embedded[cropped]
    assert embedded[whole].vector != embedded[cropped].vector
    together = repeat_query(whole)
    together.more_photos.add(make_upload(together.owner))
    for other in (repeat_query(whole, crop={**LEFT, "x": 0.5}), together):
        with raises_code(Refused, "photo_gone"):
            embed_query(other, encoder)


def test_the_vector_of_several_photos_is_not_reused_for_the_first_one(encoder: Encoder) -> None:
    several = query_about(drawing(2))
    several.more_photos.add(make_upload(several.owner, content=jpeg_of(drawing(7))))
    record_embedding(several, encoder)
    assert vector_of(repeat_query(several), encoder) @ vector_of(several, encoder) < 0.999


def test_an_out_of_distribution_photo_is_marked_and_stays_marked(
    encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    threshold = embedder_of(encoder).card.ood_threshold
    assert threshold is not None
    query = query_about(drawing(1))
    for factor, guess in ((0.5, {}), (2.0, {"not_clothes": True})):
        scores = np.array([threshold.threshold * factor], np.float32)
        monkeypatch.setattr(Embedder, "embed_with_ood", lambda *_, scores=scores: (unit(1)[None], scores))
        assert embed_query(query, encoder).guess == guess
    guess_of_search = {"not_clothes": True, "category": {"value": "Hat", "share": 1.0}}
    SimilarityQuery.objects.filter(pk=query.pk).update(encoder=encoder, vector=unit(1).tobytes(), guess=guess_of_search)
    assert embed_query(repeat_query(query), encoder).guess == {"not_clothes": True}


def test_noise_is_probably_not_clothes(encoder: Encoder) -> None:
    noise = np.random.default_rng(3).integers(0, 256, (300, 300, 3), dtype=np.uint8)
    query = query_about(Image.fromarray(noise))
    assert embed_query(query, encoder).guess == {"not_clothes": True}


def test_a_query_whose_photo_is_not_fetched_cannot_be_embedded(encoder: Encoder) -> None:
    with pytest.raises(IllegalTransition):
        embed_query(make_query(source_url="https://shop.example/1.jpg", owner=make_user()), encoder)


# --- the whole catalogue


def claim(encoder: Encoder) -> Encoder:
    claimed = encoder.claim("gpu@here")
    assert claimed is not None
    return claimed


def test_each_photo_of_the_catalogue_gets_its_own_vector_whatever_shares_its_batch(encoder: Encoder) -> None:
    photos = [make_item_photo(content=jpeg_of(drawing(number))) for number in range(5)]
    Path(photos[2].file.path).unlink()
    assert embed_missing(claim(encoder)) == 5
    vectors = {row.photo_id: np.frombuffer(bytes(row.vector), "<f4") for row in Embedding.objects.all()}
    assert set(vectors) == {photo.pk for photo in photos} - {photos[2].pk}
    for number in (0, 1, 3, 4):
        assert vectors[photos[number].pk] @ vector_of(query_about(drawing(number)), encoder) > 0.9999
    photos[2].refresh_from_db()
    assert photos[2].problem.startswith("FileNotFoundError")


@pytest.mark.database
def test_new_photos_are_embedded_before_those_left_out_earlier(
    encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedding, "_PAGE", 2)
    photos = [make_item_photo() for _ in range(9)]
    make_embedding(encoder, unit(1), photos[3])
    order = [photo.pk for photo in embedding._missing_photos(encoder)]
    assert order == [photos[n].pk for n in (4, 5, 6, 7, 8, 0, 1, 2)]


def test_missing_new_photos_are_noticed_at_once_and_old_ones_by_the_full_check(encoder: Encoder) -> None:
    photos = [make_item_photo(colour_lab=[50.0, 0.0, 0.0]) for _ in range(3)]
    vectors = [make_embedding(encoder, unit(1), photo) for photo in photos]
    assert not embedding.is_anything_missing(encoder)
    vectors[0].delete()
    embedding._next_full_check[encoder.pk] = time.monotonic() + 60
    assert not embedding.is_anything_missing(encoder)
    embedding._next_full_check[encoder.pk] = time.monotonic()
    assert embedding.is_anything_missing(encoder)
    assert embedding.is_anything_missing(encoder)  # until it is embedded
    make_embedding(encoder, unit(1), photos[0])
    assert not embedding.is_anything_missing(encoder)
    make_item_photo()
    assert embedding.is_anything_missing(encoder)


def test_embedding_the_catalogue_stops_when_a_query_waits(encoder: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding, "_FIRST_CHECK_SECONDS", 0.0)
    for _ in range(40):
        make_item_photo()
    waiting = make_query()
    claimed = claim(encoder)
    assert embed_missing(claimed) == 0  # the next message goes behind that of the query
    assert SimilarityQuery.objects.claim(waiting.pk, QueryState.QUEUED, worker="gpu@here") is not None
    assert embed_missing(claimed) == 40  # a worker has claimed the query


def test_embedding_the_catalogue_stops_after_its_time(encoder: Encoder) -> None:
    make_item_photo()
    claimed = claim(encoder)
    assert embed_missing(claimed, seconds=0.0) == 0
    assert embed_missing(claimed, seconds=60.0) == 1


@pytest.mark.database
def test_a_batch_whose_claim_was_lost_is_not_written(encoder: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(2 * BATCH):
        make_item_photo(content=jpeg("green"))
    claimed, renew = claim(encoder), Encoder.renew_claim

    def renew_once(encoder: Encoder) -> None:
        renew(encoder)
        Encoder.objects.release_claims()  # as the sweep does for a dead worker

    monkeypatch.setattr(Encoder, "renew_claim", renew_once)
    with pytest.raises(ClaimLost):
        embed_missing(claimed)
    assert Embedding.objects.count() == BATCH
    assert ItemPhoto.objects.exclude(colour_lab=None).count() == BATCH


def test_a_network_that_fails_in_a_thread_fails_the_task(encoder: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    make_item_photo()

    def broken(*_: object) -> np.ndarray:
        raise RuntimeError("the card is on fire")

    monkeypatch.setattr(Embedder, "embed", broken)
    with pytest.raises(RuntimeError, match="on fire"):
        search.embed_catalog(encoder.pk)
    encoder.refresh_from_db()
    assert encoder.claim_token is None
