"""The manifest of a training run or an evaluation: which photos are in it, and which never are."""

from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from catalog.models import CatalogItem, EvaluationSet, ItemPhoto, RunSource
from catalog.photos.validation import clean_photo, source_hash
from catalog.services.datasets.export import evaluation_data_write
from ml.data.manifest import read_manifest
from tests.helpers.factories import jpeg, make_item_photo, make_run
from tests.helpers.training_catalogue import (
    make_accepted_triplet,
    make_catalogue,
    make_clothes,
    make_evaluation_set,
    unique_hash,
)
from tests.helpers.written_dataset import files, paths, picture, read_rows, write

__all__ = ["write"]  # a fixture

pytestmark = pytest.mark.django_db


def test_every_labelled_photo_is_exported_once(write: Any, tmp_path: Path) -> None:
    photos = make_catalogue(20)
    second = make_item_photo(photos["Hat"][0].item, perceptual_hash=unique_hash())
    make_evaluation_set()
    rows, counts = write()
    assert paths(rows) == files(second, *photos["Hat"], *photos["Shirt"])
    assert len(rows) == counts["photos"] == 41
    assert len(read_manifest(tmp_path / "run" / "data.csv").photos) == 41
    assert counts["items"] == 40
    assert counts["train"] + counts["val"] == 41
    assert counts["labels"].keys() == {"Hat", "Shirt"}


def test_a_tenth_of_each_label_is_for_validation(write: Any) -> None:
    make_catalogue(30)
    make_evaluation_set()
    rows, _ = write()
    for label in ("Hat", "Shirt"):
        assert sorted(row["split"] for row in rows if row["label"] == label).count("val") == 3


def test_the_first_run_draws_an_evaluation_set_and_leaves_it_out(write: Any) -> None:
    make_catalogue(20)
    rows, counts = write()
    drawn = EvaluationSet.current()
    assert drawn is not None
    assert counts["evaluation_items"] == drawn.items.count() == 6
    frozen = ItemPhoto.objects.filter(item__in=drawn.items.all())
    assert not paths(rows) & files(*frozen)
    assert len(rows) == 34


@pytest.mark.database
def test_items_of_earlier_evaluation_sets_stay_out(write: Any) -> None:
    photos = make_catalogue(20)["Hat"]
    make_evaluation_set(photos[0], name="last year", is_current=False)
    make_evaluation_set(photos[1])
    rows, counts = write()
    assert not paths(rows) & files(*photos[:2])
    assert counts["left_out"] == {"of items of an evaluation set": 2}


@pytest.mark.parametrize("column", ["sha256", "source_sha256", "perceptual_hash"])
@pytest.mark.database
def test_photos_equal_or_similar_to_one_of_an_evaluation_set_stay_out(write: Any, column: str) -> None:
    frozen, twin, *_ = make_catalogue(20)["Hat"]
    ItemPhoto.objects.filter(pk=twin.pk).update(**{column: getattr(frozen, column)})
    make_evaluation_set(frozen)
    rows, counts = write()
    assert not paths(rows) & files(frozen, twin)
    assert counts["left_out"]["that look like one of an evaluation set"] == 1


def test_pictures_without_contrast_do_not_count_as_similar(write: Any) -> None:
    frozen, other, *_ = make_catalogue(20)["Hat"]
    ItemPhoto.objects.filter(pk__in=(frozen.pk, other.pk)).update(perceptual_hash="0" * 16)
    make_evaluation_set(frozen)
    assert files(other) <= paths(write()[0])


def test_other_photos_of_an_evaluation_sets_contributor_stay_out(write: Any) -> None:
    make_catalogue(20)
    frozen, other = make_clothes("Hat", 2, contributor="ann")
    make_evaluation_set(frozen)
    rows, _ = write()
    assert not paths(rows) & files(frozen, other)


@pytest.mark.database
def test_the_photos_of_a_contributor_are_in_one_split(write: Any) -> None:
    for name in range(12):
        make_clothes("Hat", 3, contributor=name)
        make_clothes("Shirt", 2, contributor=name)
    make_evaluation_set()
    splits: dict[str, set[str]] = {}
    for row in write()[0]:
        splits.setdefault(row["contributor"], set()).add(row["split"])
    assert len(splits) == 12
    assert sorted(map(len, splits.values())) == [1] * 12


def test_unusable_photos_are_left_out_and_counted(write: Any) -> None:
    photos = make_catalogue(20)["Hat"]
    make_clothes("  ", 2)
    make_clothes("Glove", 1)
    photos[0].item.mark_deleted()
    ItemPhoto.objects.filter(pk=photos[1].pk).update(problem="unreadable")
    Path(photos[2].file.path).unlink()
    make_evaluation_set()
    rows, counts = write()
    assert paths(rows) >= files(*photos[3:])
    assert not paths(rows) & files(*photos[:3])
    assert counts["left_out"] == {
        "of items without a category": 2,
        "that are the only one of their category": 1,
        "whose file is missing": 1,
    }


def test_hidden_items_are_exported(write: Any) -> None:
    photos = make_catalogue(20)["Hat"]
    CatalogItem.objects.update(is_active=False)
    make_evaluation_set()
    assert files(*photos) <= paths(write()[0])


def test_labels_keep_commas_quotes_and_unicode(write: Any, tmp_path: Path) -> None:
    make_catalogue(5, labels=('Hat, "felt"', "Żakiet"))
    make_evaluation_set()
    write()
    labels = {photo.label for photo in read_manifest(tmp_path / "run" / "data.csv").photos}
    assert labels == {'Hat, "felt"', "Żakiet"}


# --- manifests


@pytest.fixture
def manifest_run(settings: Any, tmp_path: Path) -> Any:
    """A function that writes a manifest of drawn photos (name: label, item, split) and returns a run of it."""
    settings.TRAINING_DATA_DIR = tmp_path / "brought"

    def run(source: str = RunSource.MANIFEST, **photos: tuple[str, str, str]) -> Any:
        (tmp_path / "brought" / "photos").mkdir(parents=True)
        lines = ["path,label,item,split,shop"]
        for seed, (name, cells) in enumerate(photos.items()):
            (tmp_path / "brought" / "photos" / f"{name}.jpg").write_bytes(picture(seed))
            lines.append(f"photos/{name}.jpg,{','.join(cells)},ours")
        (tmp_path / "brought" / "shop.csv").write_text("\n".join(lines) + "\n")
        return make_run(source=source, manifest="shop.csv")

    return run


def test_a_manifest_keeps_its_splits_and_columns_and_gets_absolute_paths(
    write: Any, manifest_run: Any, tmp_path: Path
) -> None:
    rows, counts = write(manifest_run(a=("Hat", "1", "train"), b=("Hat", "2", "val"), c=("Sock", "3", "test")))
    assert [(row["split"], row["shop"], Path(row["path"]).is_file()) for row in rows] == [
        ("train", "ours", True),
        ("val", "ours", True),
        ("test", "ours", True),
    ]
    assert (counts["train"], counts["val"], counts["test"]) == (1, 1, 1)
    assert len(read_manifest(tmp_path / "run" / "data.csv").photos) == 3


def test_the_catalogue_and_a_manifest_are_joined(write: Any, manifest_run: Any, tmp_path: Path) -> None:
    photos = make_catalogue(20)
    make_evaluation_set()
    item = str(photos["Hat"][0].item_id)
    rows, counts = write(manifest_run(RunSource.BOTH, a=("Hat", item, "train"), b=("Sock", "2", "test")))
    assert counts["photos"] == 42
    assert len(read_manifest(tmp_path / "run" / "data.csv").photos) == 42
    assert {row["item"] for row in rows} >= {f"manifest {item}", f"catalogue {item}"}


@pytest.mark.parametrize("source", [RunSource.MANIFEST, RunSource.BOTH])
@pytest.mark.parametrize("same", ["source_sha256", "perceptual_hash"])
def test_evaluated_photos_of_a_manifest_stay_out(write: Any, manifest_run: Any, source: str, same: str) -> None:
    frozen = make_catalogue(20)["Hat"][0]
    make_evaluation_set(frozen)
    hashes = {"source_sha256": source_hash(picture(0)), "perceptual_hash": clean_photo(picture(0)).perceptual_hash}
    ItemPhoto.objects.filter(pk=frozen.pk).update(**{same: hashes[same]})
    rows, counts = write(manifest_run(source, twin=("Hat", "1", "val"), other=("Hat", "2", "train")))
    assert [Path(row["path"]).name for row in rows if row["item"].startswith("manifest")] == ["other.jpg"]
    assert counts["left_out"]["that look like one of an evaluation set"] == 1


# --- resumed runs


def test_a_resumed_run_keeps_its_photos_when_the_catalogue_grows(write: Any) -> None:
    make_catalogue(20)
    first = write()
    make_clothes("Hat", 5)
    assert write() == first


def test_withdrawn_consent_makes_a_resumed_run_start_over(write: Any, tmp_path: Path) -> None:
    photos = make_catalogue(20)
    make_evaluation_set()  # an empty set, since a drawn one might contain the items of the triplet
    triplet = make_accepted_triplet(photos["Hat"][0], photos["Shirt"][0])
    assert write()[1]["pairs"] == 1
    checkpoint = tmp_path / "run" / "run" / "checkpoint.pt"
    checkpoint.parent.mkdir()
    checkpoint.touch()
    triplet.anchor.may_train = False
    triplet.anchor.save()
    rows, counts = write()
    assert (counts["pairs"], counts["started_over"]) == (0, True)
    assert not paths(rows) & files(triplet.anchor)
    assert not checkpoint.exists()


def test_a_deleted_file_makes_a_resumed_run_start_over(write: Any) -> None:
    photos = make_catalogue(20)["Hat"]
    make_evaluation_set()
    write()
    Path(photos[0].file.path).unlink()
    rows, counts = write()
    assert counts["started_over"]
    assert not paths(rows) & files(photos[0])


def test_a_new_evaluation_set_makes_a_resumed_run_start_over(write: Any) -> None:
    photo = make_catalogue(20)["Hat"][0]
    make_evaluation_set()
    assert files(photo) <= paths(write()[0])
    make_evaluation_set(photo, name="new", is_current=False)
    rows, counts = write()
    assert counts["started_over"]
    assert not paths(rows) & files(photo)


def test_photos_of_a_remote_storage_are_copied(
    write: Any, settings: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    with mock_aws():
        options = {"bucket_name": "pictures", "region_name": "us-east-1", "file_overwrite": False}
        settings.STORAGES = {
            **settings.STORAGES,
            "default": {"BACKEND": "storages.backends.s3.S3Storage", "OPTIONS": options},
        }
        boto3.resource("s3", region_name="us-east-1").create_bucket(Bucket="pictures")
        lost, *photos = [photo for label in ("Hat", "Shirt") for photo in make_clothes(label, 4, jpeg("red"))]
        triplet = make_accepted_triplet(photos[0], photos[-1])
        lost.file.delete(save=False)
        make_evaluation_set()
        rows, counts = write()
    assert counts["left_out"] == {"whose file is missing": 1}
    names = {f"{photo.pk}.jpg" for photo in photos} | {f"{triplet.anchor_id}.jpg"}
    assert {Path(row["path"]).relative_to(tmp_path / "run" / "photos").as_posix() for row in rows} == names
    assert {path.name for path in (tmp_path / "run" / "photos").iterdir()} == names


# --- evaluations


def test_an_evaluation_has_the_set_as_test_and_the_rest_of_the_catalogue_as_train(tmp_path: Path) -> None:
    photos = make_catalogue(20)
    make_clothes(" ", 3)
    gone, frozen = photos["Hat"][:2]
    drawn = make_evaluation_set(gone, frozen)
    for photo in (gone, photos["Shirt"][0]):
        photo.item.mark_deleted()
    path = evaluation_data_write(evaluation_set=drawn, folder=tmp_path / "evaluation")
    rows = read_rows(path)
    assert paths([row for row in rows if row["split"] == "test"]) == files(gone, frozen)
    assert paths([row for row in rows if row["split"] == "train"]) == files(*photos["Hat"][2:], *photos["Shirt"][1:])
    assert len(read_manifest(path).photos) == 39
