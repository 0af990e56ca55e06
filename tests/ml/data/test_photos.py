from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ml.data.manifest import Manifest, Photo
from ml.data.photos import UnfitDataError, build_photo_set, decode_photos, relabel, select_training_photos, shrink
from ml.images.pictures import PictureError

EACH = {"train": 12, "val": 4, "test": 2}


def listed(*lines: str) -> Manifest:
    """A manifest of lines "label split" or "label split item", whose files are never opened."""
    photos = []
    for number, line in enumerate(lines):
        label, split, *item = line.split()
        photos.append(Photo(f"{number}.png", label, item[0] if item else str(number), split))
    return Manifest(Path("nowhere"), tuple(photos))


class TestPhotoSet:
    def test_labels_are_numbered_by_name_and_photos_stay_in_the_order_of_the_manifest(self):
        photos = build_photo_set(listed("Top train", "Dress train", "Top val", "Hat train", "Dress train"), ["train"])
        assert photos.classes == ("Dress", "Hat", "Top")
        assert photos.labels.tolist() == [2, 0, 1, 0]
        assert [photo.path for photo in photos.photos] == ["0.png", "1.png", "3.png", "4.png"]
        assert photos.counts.tolist() == [2, 1, 1]
        assert len(photos) == 4

    def test_photos_of_one_item_share_its_number(self):
        photos = build_photo_set(listed("Top train b", "Top train a", "Top train b"), ["train"])
        assert photos.items[0] == photos.items[2] != photos.items[1]

    def test_several_splits_are_taken_together(self):
        assert len(build_photo_set(listed("Top train", "Top val", "Top test"), ["train", "test"])) == 2

    def test_given_classes_decide_and_photos_of_others_are_left_out(self):
        photos = build_photo_set(listed("Hat val", "Top val", "Dress val"), ["val"], ("Top", "Dress", "Sock"))
        assert photos.classes == ("Top", "Dress", "Sock")
        assert photos.labels.tolist() == [0, 1]
        assert photos.counts.tolist() == [1, 1, 0]

    def test_groups_are_the_contributors_where_there_are_any_else_the_items(self):
        known = Photo("a.png", "Top", "one", "train", {"contributor": "ann"})
        unknown = Photo("b.png", "Top", "two", "train", {"contributor": ""})
        assert build_photo_set(Manifest(Path(), (known, unknown)), ["train"]).groups == ("ann", "two")

    def test_a_split_without_photos_is_an_empty_set(self):
        photos = build_photo_set(listed("Top train"), ["val"], ("Top",))
        assert (len(photos), photos.labels.shape, photos.items.shape) == (0, (0,), (0,))


class TestTrainingPhotos:
    def test_the_drawn_garments_are_divided_as_they_are_listed(self, manifest):
        train, held = select_training_photos(manifest, ["train"], ["val", "test"])
        assert train.counts.tolist() == [EACH["train"]] * 3
        assert held.counts.tolist() == [EACH["val"] + EACH["test"]] * 3
        assert set(train.groups).isdisjoint(held.groups)

    @pytest.mark.parametrize(
        ("lines", "complaint"),
        [
            (["Top train", "Top train", "Top val"], "photos of two labels or more; these are of 1"),
            (["Top val", "Dress val"], "photos of two labels or more; these are of 0"),
            (["Top train", "Top train", "Hat train", "Top val"], "two train photos or more; 'Hat' has not"),
            (["A train", "B train", "C train", "D train", "A val"], "'A', 'B', 'C' and others has not"),
            (["Top train", "Top train", "Hat train", "Hat train"], "no photos outside the training splits"),
            (["Top train", "Top train", "Hat train", "Hat train", "Sock val"], "no photos outside the training splits"),
        ],
        ids=["one label", "none", "a label of one photo", "many of them", "nothing held out", "only others held out"],
    )
    def test_what_no_network_can_be_trained_on_is_refused(self, lines, complaint):
        with pytest.raises(UnfitDataError, match=complaint):
            select_training_photos(listed(*lines), ["train"], ["val", "test"])

    def test_held_out_photos_of_unknown_labels_are_left_out(self):
        lines = ["Top train", "Top train", "Hat train", "Hat train", "Sock val", "Hat test"]
        assert [
            photo.label for photo in select_training_photos(listed(*lines), ["train"], ["val", "test"])[1].photos
        ] == ["Hat"]


class TestLabelledBy:
    def test_another_column_gives_the_labels(self, manifest):
        seasons = relabel(manifest, "season")
        assert {photo.label for photo in seasons.photos} == {"summer", "winter"}
        assert len(seasons.photos) == len(manifest.photos)

    def test_the_column_label_changes_nothing(self, manifest):
        assert relabel(manifest, "label") is manifest

    def test_photos_without_a_value_are_left_out(self, manifest):
        first, *others = manifest.photos
        unknown = replace(first, extra={**first.extra, "season": ""})
        assert relabel(replace(manifest, photos=(unknown, *others)), "season").photos[0].path == others[0].path

    def test_a_column_that_is_not_there_is_named(self, manifest):
        with pytest.raises(UnfitDataError, match="no column 'colour'"):
            relabel(manifest, "colour")


class TestDecoded:
    def test_photos_come_in_order_as_they_are_where_they_are_small(self, manifest):
        photos = build_photo_set(manifest, ["val"])
        for photo, picture in zip(photos.photos, decode_photos(photos, 80), strict=True):
            assert np.array_equal(picture, Image.open(manifest.file(photo)))

    def test_larger_ones_are_shrunk_and_boxes_cut_out_first(self, manifest):
        photo = replace(manifest.photos[0], extra={"box": "4,10,44,70"})
        (picture,) = decode_photos(build_photo_set(replace(manifest, photos=(photo,)), ["train"]), 30)
        assert picture.size == (20, 30)

    def test_a_broken_photo_is_named(self, manifest, tmp_path):
        (tmp_path / "a.png").write_bytes(b"no picture")
        broken = Manifest(tmp_path, (replace(manifest.photos[0], path="a.png"),))
        with pytest.raises(PictureError, match=r"'a\.png' is not a readable picture"):
            decode_photos(build_photo_set(broken, ["train"]), 80)


class TestShrunk:
    @pytest.mark.parametrize(
        ("size", "longest", "expected"),
        [((300, 400), 200, (150, 200)), ((400, 300), 200, (200, 150)), ((400, 1), 40, (40, 1))],
        ids=["upright", "lying", "a line"],
    )
    def test_the_longer_side_becomes_the_longest_and_the_proportions_stay(self, size, longest, expected):
        assert shrink(Image.new("RGB", size), longest).size == expected

    @pytest.mark.parametrize("longest", [40, 80])
    def test_nothing_is_enlarged(self, longest):
        picture = Image.new("RGB", (30, 40))
        assert shrink(picture, longest) is picture
