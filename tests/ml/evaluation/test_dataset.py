from pathlib import Path

import numpy as np
import pytest

from ml.data.manifest import Manifest, Photo
from ml.evaluation.dataset import EvaluationError, build_dataset, require_two_labels
from tests.helpers.errors import raises_code


def manifest(*photos: Photo) -> Manifest:
    return Manifest(Path(), photos)


def photo(name, label="Hat", item=None, split="val", **extra) -> Photo:
    return Photo(name, label, item or name, split, extra)


def names(dataset, rows) -> list[str]:
    return [chosen.path for chosen in dataset.photos(rows)]


MIXED = manifest(photo("a", split="train"), photo("b", "Shirt"), photo("c", split="test"), photo("d", split="train"))


def test_val_and_test_photos_are_the_queries_and_all_photos_the_gallery():
    dataset = build_dataset(MIXED)
    assert names(dataset, dataset.queries) == ["b", "c"]
    assert names(dataset, dataset.gallery) == ["a", "b", "c", "d"]
    assert dataset.splits == ("val", "test")


@pytest.mark.parametrize(("split", "queries"), [("train", ["a", "d"]), ("val", ["b"]), ("test", ["c"])])
def test_the_queries_may_come_from_one_split(split, queries):
    dataset = build_dataset(MIXED, split)
    assert names(dataset, dataset.queries) == queries
    assert len(dataset.gallery) == 4


def test_labels_items_and_owners_are_equal_numbers_for_equal_names():
    dataset = build_dataset(
        manifest(
            photo("a", "Hat", "1", contributor="x"),
            photo("b", "Shirt", "1", contributor="x"),
            photo("c", "Hat", "2", contributor="y"),
        )
    )
    assert [dataset.label_names[label] for label in dataset.labels] == ["Hat", "Shirt", "Hat"]
    assert dataset.items[0] == dataset.items[1] != dataset.items[2]
    assert dataset.owners[0] == dataset.owners[1] != dataset.owners[2]
    assert dataset.owner == "contributor"


def test_without_contributors_the_items_are_the_owners():
    dataset = build_dataset(manifest(photo("a", item="1"), photo("b", item="1"), photo("c", item="2")))
    assert dataset.owners[0] == dataset.owners[1] != dataset.owners[2]
    assert dataset.owner == "item"


def test_an_item_and_a_contributor_of_the_same_name_are_different_owners():
    dataset = build_dataset(
        manifest(photo("a", item="7", contributor=""), photo("b", item="8", contributor="7"), photo("c", item="7"))
    )
    assert dataset.owners[0] == dataset.owners[2] != dataset.owners[1]


def test_the_column_role_chooses_queries_and_gallery():
    dataset = build_dataset(
        manifest(
            photo("a", split="train", role="train"),
            photo("b", split="test", role="query"),
            photo("c", split="test", role="gallery"),
            photo("d", split="val", role="gallery"),
        ),
        "test",
    )
    assert names(dataset, dataset.queries) == ["b"]
    assert names(dataset, dataset.gallery) == ["c"]


def test_roles_of_other_splits_are_ignored():
    photos = [
        photo("a", split="val", role=""),
        photo("b", split="train", role=""),
        photo("c", split="test", role="query"),
    ]
    dataset = build_dataset(manifest(*photos), "val")
    assert names(dataset, dataset.queries) == ["a"]
    assert names(dataset, dataset.gallery) == ["a", "b", "c"]


def test_another_column_may_hold_the_labels():
    dataset = build_dataset(
        manifest(photo("a", "Hat", group="upper"), photo("b", "Pants", group="lower")), None, "group"
    )
    assert dataset.label_names == ("lower", "upper")
    assert dataset.labels.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("photos", "split", "column", "code", "value"),
    [
        ([photo("a", split="train")], None, "label", "no_queries", "val or test"),
        ([photo("a", split="val")], "test", "label", "no_queries", "test"),
        ([photo("a", split="val")], "holdout", "label", "split_unknown", "'holdout'"),
        ([photo("a", role="gallery")], None, "label", "no_queries", "val or test"),
        ([photo("a", role="query")], None, "label", "no_gallery", "val or test"),
        ([photo("a")], None, "group", "column_missing", "'group'"),
        ([photo("a", group="upper"), photo("b", group=" ")], None, "group", "label_empty", "'b'"),
    ],
)
def test_a_manifest_without_queries_gallery_or_labels_is_refused(photos, split, column, code, value):
    with raises_code(EvaluationError, code, value):
        build_dataset(manifest(*photos), split, column)


def test_a_single_label_is_refused():
    with raises_code(EvaluationError, "single_label", "'Hat'"):
        require_two_labels(build_dataset(manifest(photo("a"), photo("b"))))
    require_two_labels(build_dataset(MIXED))


def test_rows_come_as_arrays_in_the_order_of_the_manifest():
    dataset = build_dataset(MIXED)
    assert dataset.queries.dtype == np.int64
    assert dataset.labels.shape == (4,)
