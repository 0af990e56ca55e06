"""Samples of an evaluation: photos answered by two encoders."""

import pytest

from catalog.models import Evaluation, ItemPhoto
from tests.helpers.encoder_rows import evaluation_set_of
from tests.helpers.factories import make_embedding, make_encoder, make_item, make_item_photo, unit
from worker.training.hard_negatives import SAMPLES, build_samples, draw_photos

pytestmark = [pytest.mark.django_db, pytest.mark.database]


def photos_of(category: str, count: int) -> list[ItemPhoto]:
    return [make_item_photo(make_item(category=category)) for _ in range(count)]


def test_both_encoders_answer_with_their_own_vectors_and_never_with_the_samples_own_item() -> None:
    ours, theirs = make_encoder(), make_encoder()
    query_photo, alike, other = photos_of("Dress", 2) + photos_of("Hat", 1)
    second_photo = make_item_photo(query_photo.item)
    for photo, our_offset, their_offset in (
        (query_photo, 0.0, 0.0),
        (alike, 0.1, 0.9),
        (other, 0.9, 0.1),
        (second_photo, 0.0, 0.0),
    ):
        make_embedding(ours, unit(1, our_offset), photo)
        make_embedding(theirs, unit(1, their_offset), photo)
    hidden = photos_of("Dress", 1)[0]
    make_embedding(ours, unit(1), hidden)
    hidden.item.mark_deleted()
    chosen = evaluation_set_of(query_photo)
    samples = build_samples(Evaluation(encoder=ours, against=theirs, evaluation_set=chosen))
    assert {(sample["photo"], sample["item"], sample["label"]) for sample in samples} == {
        (photo.pk, query_photo.item_id, "Dress") for photo in (query_photo, second_photo)
    }
    first = samples[0]
    assert [(one["item"], one["right"]) for one in first["ours"]] == [(alike.item_id, True), (other.item_id, False)]
    assert [(one["item"], one["right"]) for one in first["theirs"]] == [(other.item_id, False), (alike.item_id, True)]
    assert first["ours"][0]["score"] == pytest.approx(unit(1, 0.1) @ unit(1), abs=1e-4)
    assert first["ours"][0]["photo"] == alike.pk


def test_labels_take_turns_and_the_choice_is_stable() -> None:
    encoder, other = make_encoder(), make_encoder()
    photos = photos_of("Dress", 30) + photos_of("Hat", 2) + photos_of("Skirt", 1) + photos_of(" ", 2)
    for photo in photos:
        make_embedding(encoder, unit(1), photo)
        make_embedding(other, unit(1), photo)
    chosen = evaluation_set_of(*photos)
    drawn = draw_photos(chosen, [encoder, other])
    assert [label for _, _, label in drawn[:6]] == ["Dress", "Hat", "Skirt", "Dress", "Hat", "Dress"]
    assert len(drawn) == SAMPLES
    assert draw_photos(chosen, [other]) == drawn


def test_a_photo_without_a_vector_of_both_encoders_is_no_sample() -> None:
    encoder, other = make_encoder(), make_encoder()
    both, one = photos_of("Hat", 2)
    for photo in (both, one):
        make_embedding(encoder, unit(1), photo)
    make_embedding(other, unit(1), both)
    assert [photo for photo, _, _ in draw_photos(evaluation_set_of(both, one), [encoder, other])] == [both.pk]


def test_a_classifier_has_no_samples() -> None:
    photo = photos_of("Hat", 1)[0]
    evaluation = Evaluation(encoder=make_encoder(kind="classifier"), evaluation_set=evaluation_set_of(photo))
    assert build_samples(evaluation) == []
