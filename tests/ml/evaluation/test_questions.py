from pathlib import Path

import numpy as np
import pytest

from ml.data.manifest import Manifest, Photo
from ml.evaluation.questions import EvaluationError, questions_of, require_two_labels


def manifest(*photos: Photo) -> Manifest:
    return Manifest(Path(), photos)


def photo(name, label="Hat", item=None, split="val", **more) -> Photo:
    return Photo(name, label, item or name, split, more)


def names(questions, rows) -> list[str]:
    return [chosen.path for chosen in questions.photos(rows)]


MIXED = manifest(photo("a", split="train"), photo("b", "Shirt"), photo("c", split="test"), photo("d", split="train"))


def test_val_and_test_photos_ask_and_all_photos_answer():
    questions = questions_of(MIXED)
    assert names(questions, questions.queries) == ["b", "c"]
    assert names(questions, questions.gallery) == ["a", "b", "c", "d"]
    assert questions.splits == ("val", "test")


@pytest.mark.parametrize(("split", "asked"), [("train", ["a", "d"]), ("val", ["b"]), ("test", ["c"])])
def test_one_split_may_be_asked_alone(split, asked):
    questions = questions_of(MIXED, split)
    assert names(questions, questions.queries) == asked
    assert len(questions.gallery) == 4


def test_labels_items_and_owners_are_numbers_that_agree_where_the_names_do():
    questions = questions_of(
        manifest(
            photo("a", "Hat", "1", contributor="x"),
            photo("b", "Shirt", "1", contributor="x"),
            photo("c", "Hat", "2", contributor="y"),
        )
    )
    assert [questions.label_names[label] for label in questions.labels] == ["Hat", "Shirt", "Hat"]
    assert questions.items[0] == questions.items[1] != questions.items[2]
    assert questions.owners[0] == questions.owners[1] != questions.owners[2]
    assert questions.owner == "contributor"


def test_without_contributors_the_items_own_the_photos():
    questions = questions_of(manifest(photo("a", item="1"), photo("b", item="1"), photo("c", item="2")))
    assert questions.owners[0] == questions.owners[1] != questions.owners[2]
    assert questions.owner == "item"


def test_a_photo_of_no_known_contributor_belongs_to_its_item_and_to_no_contributor_of_that_name():
    questions = questions_of(
        manifest(photo("a", item="7", contributor=""), photo("b", item="8", contributor="7"), photo("c", item="7"))
    )
    assert questions.owners[0] == questions.owners[2] != questions.owners[1]


def test_a_manifest_with_roles_says_itself_who_asks_and_who_answers():
    questions = questions_of(
        manifest(
            photo("a", split="train", role="train"),
            photo("b", split="test", role="query"),
            photo("c", split="test", role="gallery"),
            photo("d", split="val", role="gallery"),
        ),
        "test",
    )
    assert names(questions, questions.queries) == ["b"]
    assert names(questions, questions.gallery) == ["c"]


def test_roles_that_say_nothing_of_a_split_leave_it_as_it_is():
    photos = [
        photo("a", split="val", role=""),
        photo("b", split="train", role=""),
        photo("c", split="test", role="query"),
    ]
    questions = questions_of(manifest(*photos), "val")
    assert names(questions, questions.queries) == ["a"]
    assert names(questions, questions.gallery) == ["a", "b", "c"]


def test_another_column_may_hold_the_labels():
    questions = questions_of(
        manifest(photo("a", "Hat", group="upper"), photo("b", "Pants", group="lower")), None, "group"
    )
    assert questions.label_names == ("lower", "upper")
    assert questions.labels.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("photos", "split", "column", "complaint"),
    [
        ([photo("a", split="train")], None, "label", "no photos to measure with in the split val or test"),
        ([photo("a", split="val")], "test", "label", "no photos to measure with in the split test"),
        ([photo("a", split="val")], "holdout", "label", "no split 'holdout'"),
        ([photo("a", role="gallery")], None, "label", "no photos to measure with"),
        ([photo("a", role="query")], None, "label", "no gallery photos to measure with"),
        ([photo("a")], None, "group", "no column 'group'"),
        ([photo("a", group="upper"), photo("b", group=" ")], None, "group", "'b' has nothing in the column 'group'"),
    ],
)
def test_a_manifest_that_cannot_be_asked_is_refused(photos, split, column, complaint):
    with pytest.raises(EvaluationError, match=complaint):
        questions_of(manifest(*photos), split, column)


def test_one_label_alone_is_nothing_to_find():
    with pytest.raises(EvaluationError, match="All photos have the label 'Hat'"):
        require_two_labels(questions_of(manifest(photo("a"), photo("b"))))
    require_two_labels(questions_of(MIXED))


def test_rows_come_as_arrays_in_the_order_of_the_manifest():
    questions = questions_of(MIXED)
    assert questions.queries.dtype == np.int64
    assert questions.labels.shape == (4,)
