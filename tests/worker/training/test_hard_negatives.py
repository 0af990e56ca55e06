"""The photos of an evaluation set that staff see answered by two encoders."""

import pytest

from catalog.models import Evaluation, ItemPhoto
from tests.helpers.encoder_rows import evaluation_set_of
from tests.helpers.factories import make_embedding, make_encoder, make_item, make_item_photo, unit
from worker.training.hard_negatives import SAMPLES, build_samples, draw_photos

pytestmark = [pytest.mark.django_db, pytest.mark.database]


def photos_of(category: str, count: int) -> list[ItemPhoto]:
    return [make_item_photo(make_item(category=category)) for _ in range(count)]


def test_each_photo_is_answered_by_both_from_their_own_vectors_and_never_by_its_own_item() -> None:
    ours, theirs = make_encoder(), make_encoder()
    asked, alike, other = photos_of("Dress", 2) + photos_of("Hat", 1)
    asked_again = make_item_photo(asked.item)
    for photo, mine, yours in ((asked, 0.0, 0.0), (alike, 0.1, 0.9), (other, 0.9, 0.1), (asked_again, 0.0, 0.0)):
        make_embedding(ours, unit(1, mine), photo)
        make_embedding(theirs, unit(1, yours), photo)
    hidden = photos_of("Dress", 1)[0]
    make_embedding(ours, unit(1), hidden)
    hidden.item.mark_deleted()
    chosen = evaluation_set_of(asked)
    found = build_samples(Evaluation(encoder=ours, against=theirs, evaluation_set=chosen))
    assert {(sample["photo"], sample["item"], sample["label"]) for sample in found} == {
        (photo.pk, asked.item_id, "Dress") for photo in (asked, asked_again)
    }
    first = found[0]
    assert [(one["item"], one["right"]) for one in first["ours"]] == [(alike.item_id, True), (other.item_id, False)]
    assert [(one["item"], one["right"]) for one in first["theirs"]] == [(other.item_id, False), (alike.item_id, True)]
    assert first["ours"][0]["score"] == pytest.approx(unit(1, 0.1) @ unit(1), abs=1e-4)
    assert first["ours"][0]["photo"] == alike.pk


def test_every_label_comes_before_any_comes_again_and_the_same_photos_come_each_time() -> None:
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


def test_a_photo_that_one_of_them_has_not_embedded_is_no_sample() -> None:
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
