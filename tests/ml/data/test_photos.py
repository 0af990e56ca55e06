from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ml.data.manifest import Manifest, Photo
from ml.data.photos import UnfitDataError, build_photo_set, decode_photos, relabel, select_training_photos, shrink
from ml.images.pictures import PictureError
from tests.helpers.errors import raises_code

EACH = {"train": 12, "val": 4, "test": 2}


def manifest_of(*lines: str) -> Manifest:
    """A manifest of lines "label split" or "label split item", without files."""
    photos = []
    for number, line in enumerate(lines):
        label, split, *item = line.split()
        photos.append(Photo(f"{number}.png", label, item[0] if item else str(number), split))
    return Manifest(Path("nowhere"), tuple(photos))


class TestPhotoSet:
    def test_labels_are_numbered_by_name_and_photos_stay_in_the_order_of_the_manifest(self):
        photos = build_photo_set(
            manifest_of("Top train", "Dress train", "Top val", "Hat train", "Dress train"), ["train"]
        )
        assert photos.classes == ("Dress", "Hat", "Top")
        assert photos.labels.tolist() == [2, 0, 1, 0]
        assert [photo.path for photo in photos.photos] == ["0.png", "1.png", "3.png", "4.png"]
        assert photos.counts.tolist() == [2, 1, 1]
        assert len(photos) == 4

    def test_photos_of_one_item_share_its_number(self):
        photos = build_photo_set(manifest_of("Top train b", "Top train a", "Top train b"), ["train"])
        assert photos.items[0] == photos.items[2] != photos.items[1]

    def test_several_splits_are_taken_together(self):
        assert len(build_photo_set(manifest_of("Top train", "Top val", "Top test"), ["train", "test"])) == 2

    def test_photos_of_other_labels_than_the_given_classes_are_left_out(self):
        photos = build_photo_set(manifest_of("Hat val", "Top val", "Dress val"), ["val"], ("Top", "Dress", "Sock"))
        assert photos.classes == ("Top", "Dress", "Sock")
        assert photos.labels.tolist() == [0, 1]
        assert photos.counts.tolist() == [1, 1, 0]

    def test_groups_are_contributors_or_else_items(self):
        known = Photo("a.png", "Top", "one", "train", {"contributor": "ann"})
        unknown = Photo("b.png", "Top", "two", "train", {"contributor": ""})
        assert build_photo_set(Manifest(Path(), (known, unknown)), ["train"]).groups == ("ann", "two")

    def test_a_split_without_photos_is_an_empty_set(self):
        photos = build_photo_set(manifest_of("Top train"), ["val"], ("Top",))
        assert (len(photos), photos.labels.shape, photos.items.shape) == (0, (0,), (0,))


class TestTrainingPhotos:
    def test_the_photos_are_divided_by_split(self, manifest):
        train, held_out = select_training_photos(manifest, ["train"], ["val", "test"])
        assert train.counts.tolist() == [EACH["train"]] * 3
        assert held_out.counts.tolist() == [EACH["val"] + EACH["test"]] * 3
        assert set(train.groups).isdisjoint(held_out.groups)

    @pytest.mark.parametrize(
        ("lines", "code", "value"),
        [
            (["Top train", "Top train", "Top val"], "too_few_labels", "1"),
            (["Top val", "Dress val"], "too_few_labels", "0"),
            (["Top train", "Top train", "Hat train", "Top val"], "label_too_small", "'Hat'"),
            (["A train", "B train", "C train", "D train", "A val"], "label_too_small", "'A', 'B', 'C' and others"),
            (["Top train", "Top train", "Hat train", "Hat train"], "nothing_held_out", ""),
            (["Top train", "Top train", "Hat train", "Hat train", "Sock val"], "nothing_held_out", ""),
        ],
        ids=["one label", "none", "a label of one photo", "many of them", "nothing held out", "only others held out"],
    )
    def test_unfit_photos_are_refused(self, lines, code, value):
        with raises_code(UnfitDataError, code, value):
            select_training_photos(manifest_of(*lines), ["train"], ["val", "test"])

    def test_held_out_photos_of_unknown_labels_are_left_out(self):
        lines = ["Top train", "Top train", "Hat train", "Hat train", "Sock val", "Hat test"]
        assert [
            photo.label for photo in select_training_photos(manifest_of(*lines), ["train"], ["val", "test"])[1].photos
        ] == ["Hat"]


class TestRelabel:
    def test_another_column_gives_the_labels(self, manifest):
        seasons = relabel(manifest, "season")
        assert {photo.label for photo in seasons.photos} == {"summer", "winter"}
        assert len(seasons.photos) == len(manifest.photos)

    def test_the_column_label_returns_the_same_manifest(self, manifest):
        assert relabel(manifest, "label") is manifest

    def test_photos_without_a_value_are_left_out(self, manifest):
        first, *others = manifest.photos
        unknown = replace(first, extra={**first.extra, "season": ""})
        assert relabel(replace(manifest, photos=(unknown, *others)), "season").photos[0].path == others[0].path

    def test_a_missing_column_is_refused(self, manifest):
        with raises_code(UnfitDataError, "column_missing", "'colour'"):
            relabel(manifest, "colour")


class TestDecodePhotos:
    def test_small_photos_are_returned_in_order_and_unchanged(self, manifest):
        photos = build_photo_set(manifest, ["val"])
        for photo, picture in zip(photos.photos, decode_photos(photos, 80), strict=True):
            assert np.array_equal(picture, Image.open(manifest.file(photo)))

    def test_a_photo_is_cropped_to_its_box_and_then_shrunk(self, manifest):
        photo = replace(manifest.photos[0], extra={"box": "4,10,44,70"})
        (picture,) = decode_photos(build_photo_set(replace(manifest, photos=(photo,)), ["train"]), 30)
        assert picture.size == (20, 30)

    def test_a_broken_photo_is_named(self, manifest, tmp_path):
        (tmp_path / "a.png").write_bytes(b"no picture")
        broken = Manifest(tmp_path, (replace(manifest.photos[0], path="a.png"),))
        with raises_code(PictureError, "picture_unreadable", "a.png"):
            decode_photos(build_photo_set(broken, ["train"]), 80)


class TestShrink:
    @pytest.mark.parametrize(
        ("size", "longest", "expected"),
        [((300, 400), 200, (150, 200)), ((400, 300), 200, (200, 150)), ((400, 1), 40, (40, 1))],
        ids=["portrait", "landscape", "a line"],
    )
    def test_the_longer_side_is_reduced_and_the_aspect_ratio_kept(self, size, longest, expected):
        assert shrink(Image.new("RGB", size), longest).size == expected

    @pytest.mark.parametrize("longest", [40, 80])
    def test_nothing_is_enlarged(self, longest):
        picture = Image.new("RGB", (30, 40))
        assert shrink(picture, longest) is picture
