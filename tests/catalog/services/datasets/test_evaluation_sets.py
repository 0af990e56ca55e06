"""Drawing evaluation sets: which items, and that a drawn set never changes."""

import pytest

from catalog.errors import Refused
from catalog.models import EvaluationSet
from catalog.services.datasets.evaluation_sets import (
    evaluation_rows_planned,
    evaluation_set_draw,
    evaluation_set_ensure,
)
from tests.helpers.errors import raises_code
from tests.helpers.factories import make_user
from tests.helpers.training_catalogue import make_catalogue, make_clothes

pytestmark = [pytest.mark.django_db, pytest.mark.database]


def items_of(evaluation_set: EvaluationSet) -> set[int]:
    return set(evaluation_set.items.values_list("pk", flat=True))


def test_a_share_of_each_category_is_drawn_and_becomes_the_current_set() -> None:
    photos = make_catalogue(20)
    staff = make_user()
    drawn = evaluation_set_draw(by=staff)
    assert (EvaluationSet.current(), drawn.created_by, drawn.name) == (drawn, staff, "Set 1")
    for label, of_label in photos.items():
        assert len(items_of(drawn) & {photo.item_id for photo in of_label}) == 3, label


def test_the_planned_items_are_drawn() -> None:
    make_catalogue(20)
    planned = {row.item for row in evaluation_rows_planned()}
    assert items_of(evaluation_set_draw()) == planned


@pytest.mark.parametrize(("splits", "expected"), [(("train", "val", "test"), "val"), (("train", "test"), "test")])
def test_items_imported_with_the_split_val_or_test_form_the_set(splits: tuple[str, ...], expected: str) -> None:
    photos = {split: make_clothes("Hat", 3, split=split) for split in splits}
    make_clothes("Hat", 20)
    assert items_of(evaluation_set_draw()) == {photo.item_id for photo in photos[expected]}


def test_the_photos_of_one_contributor_are_drawn_together() -> None:
    people = {name: make_clothes("Hat", 3, contributor=name) for name in "abcdefgh"}
    drawn = items_of(evaluation_set_draw())
    shares = [len(drawn & {photo.item_id for photo in photos}) for photos in people.values()]
    assert set(shares) == {0, 3}


def test_the_items_of_a_studio_are_drawn_one_by_one() -> None:
    make_clothes("Hat", 20, contributor="studio")
    make_clothes("Hat", 2, contributor="ann")
    assert len(items_of(evaluation_set_draw())) == 4


def test_a_new_set_contains_the_items_of_the_previous_set_which_stays_unchanged() -> None:
    make_catalogue(20)
    first = evaluation_set_draw()
    before = items_of(first)
    make_catalogue(20)
    second = evaluation_set_draw()
    assert items_of(second) > before
    assert items_of(first) == before
    assert EvaluationSet.current() == second


def test_items_that_are_deleted_unlabelled_or_unreadable_are_not_drawn() -> None:
    deleted, unlabelled, broken = make_clothes("Hat", 9), make_clothes(" ", 9), make_clothes("Hat", 9)
    for photo in deleted:
        photo.item.mark_deleted()
    for photo in broken:
        photo.problem = "unreadable"
        photo.save()
    assert unlabelled
    with raises_code(Refused, "evaluation_set_empty"):
        evaluation_set_draw()
    assert not EvaluationSet.objects.exists()


def test_hidden_items_are_drawn() -> None:
    photos = make_clothes("Hat", 10)
    for photo in photos:
        photo.item.is_active = False
        photo.item.save()
    assert len(items_of(evaluation_set_draw())) == 2


def test_a_taken_name_is_refused_and_the_current_set_stays() -> None:
    make_catalogue(20)
    first = evaluation_set_draw(name="autumn")
    with raises_code(Refused, "evaluation_set_exists"):
        evaluation_set_draw(name="autumn")
    assert EvaluationSet.current() == first


@pytest.mark.parametrize("share", [0, -1, 0.6, 2])
def test_an_impossible_share_is_refused(share: float) -> None:
    with raises_code(Refused, "bad_share"):
        evaluation_set_draw(share=share)


def test_ensuring_a_set_is_idempotent() -> None:
    assert evaluation_set_ensure() is None
    make_catalogue(20)
    drawn = evaluation_set_ensure()
    assert drawn is not None
    assert evaluation_set_ensure() == drawn
